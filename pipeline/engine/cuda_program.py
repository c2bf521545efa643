"""The text of CUDA kernels that train and evaluate runs of one static setting: one run a block, one example a thread.

No engine launches them yet: on GPUs runs are trained by the torch engine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.codegen.cuda.single_text import single_text
from pipeline.codegen.cuda.texts import thread_model_text, thread_task_text
from pipeline.codegen.graph.build import NoCodeError
from pipeline.engine.program import setting_preamble
from pipeline.engine.program_arguments import Memory, ProgramArguments
from pipeline.numerics.alignment import ALIGNMENT_BYTES, plan_row
from pipeline.numerics.native_source import Native, native_of

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig

_TASK, _MODEL = "generated_task.h", "generated_model.h"
_ITEMSIZE = {"float32": 4, "float64": 8}
_WARP, _MOST_THREADS = 32, 128
# Tasks whose headers mean the same for one lane, and need nothing that a kernel lacks. Others sort, or add up
# comparisons, which are -1 for vectors and 1 for numbers: their batches are drawn by torch.
_DRAWN_IN_KERNELS = (
    "dictionary_lookup.h",
    "linear_regression.h",
    "pair_lookup.h",
    "repeated_sequence.h",
    "separate_regression.h",
    "sparse_parity.h",
)
# Optimisers that treat every weight alike, so that threads can share out a row.
_ELEMENTWISE = ("adamw.h", "sgd.h")


def threads_of(config: RunConfig) -> int:
    """Threads of a block: a warp or several, an example each; four at most, which take larger batches in turns."""
    return min(_MOST_THREADS, _WARP * math.ceil(config.batch_size / _WARP))


def kernel_arguments(config: RunConfig) -> ProgramArguments:
    """The structures with which the kernels of such runs are called."""
    return ProgramArguments.of(config, is_drawn=_task_form(config) is None)


def _task_form(config: RunConfig) -> Native | None:
    form = native_of(config.task)
    return form if form is not None and form.header in _DRAWN_IN_KERNELS else None


def kernel_text(config: RunConfig, num_threads: int | None = None, *, is_poisoned: bool = False) -> str:
    """The kernels of such runs as one text. Raises NoCodeError where a part of the run cannot be written as CUDA.

    `num_threads`, of a block, fixes the order of sums. Memory `is_poisoned` for tests (see `thread_model_text`).
    """
    optimiser, schedule = native_of(config.optimiser), native_of(config.schedule)
    if optimiser is None or optimiser.header not in _ELEMENTWISE:
        raise NoCodeError(f"no CUDA is written for optimiser {config.optimiser.name}")
    if schedule is None:
        raise NoCodeError(f"no CUDA is written for schedule {config.schedule.name}")
    if not config.model.is_traceable(config.task.shape()):
        raise NoCodeError("no CUDA is written for what the model does in training")
    texts = {_MODEL: thread_model_text(config.model, config.task.shape(), config.dtype, is_poisoned)}
    task = _task_form(config)
    if task is None:
        texts[_TASK] = thread_task_text(config.task, config.dtype, is_poisoned)
    forms = {"task": task or Native(_TASK), "model": Native(_MODEL), "optimiser": optimiser, "schedule": schedule}
    arguments = kernel_arguments(config)
    preamble = setting_preamble(config, forms, arguments, _row_constants(config))
    headers = ["lanes.h", *(form.header for form in forms.values())]
    headers += ["drawn.h" if arguments.is_drawn else "sampled.h", "kernel.h"]
    threads = f"#define THREADS {num_threads or threads_of(config)}"
    return "\n".join([threads, *preamble, Memory.cpp(), single_text(headers, texts)])


def _row_constants(config: RunConfig) -> dict[str, int]:
    """A run's row is `row_stride` numbers; the optimiser is given pieces of `row_width` of them."""
    itemsize = _ITEMSIZE[config.dtype]
    specs = config.model.parameter_specs(config.task.shape())
    row = plan_row([spec.rows * spec.columns for spec in specs], itemsize)
    return {"row_stride": row.width, "row_width": ALIGNMENT_BYTES // itemsize}
