"""The text of CUDA kernels that train and evaluate runs of one static setting: one run a block, one example a thread.

No engine launches them yet: on GPUs runs are trained by the torch engine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.codegen.cuda.single_text import single_text
from pipeline.codegen.cuda.texts import thread_model_text, thread_task_text
from pipeline.codegen.generated import (
    Generated,
    generated_optimiser_or_why,
    generated_schedule_or_why,
    generated_task_or_why,
)
from pipeline.codegen.graph.build import NoCodeError
from pipeline.engine.program import setting_preamble
from pipeline.engine.program_arguments import Memory, ProgramArguments
from pipeline.numerics.alignment import ALIGNMENT_BYTES, plan_row

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig

_ITEMSIZE = {"float32": 4, "float64": 8}
_WARP, _MOST_THREADS = 32, 128


def threads_of(config: RunConfig) -> int:
    """Threads of a block: a warp or several, an example each; four at most, which take larger batches in turns."""
    return min(_MOST_THREADS, _WARP * math.ceil(config.batch_size / _WARP))


def kernel_arguments(config: RunConfig) -> ProgramArguments:
    """The structures with which the kernels of such runs are called."""
    return ProgramArguments.of(config, is_drawn=bool(generated_task_or_why(config.task, config.dtype).why_drawn))


def kernel_text(config: RunConfig, num_threads: int | None = None, *, is_poisoned: bool = False) -> str:
    """The kernels of such runs as one text. Raises NoCodeError where a part of the run cannot be written as CUDA.

    `num_threads`, of a block, fixes the order of sums. Memory `is_poisoned` for tests (see `thread_model_text`).
    """
    task_shape = config.task.shape()
    has_state = any(spec.is_state for spec in config.model.parameter_specs(task_shape))
    if has_state or config.model.noise_streams(task_shape) or not config.model.is_traceable(task_shape):
        raise NoCodeError("no CUDA is written for what the model does in training")
    arguments = kernel_arguments(config)
    texts = {
        "task.h": thread_task_text(config.task, config.dtype, arguments.is_drawn, is_poisoned),
        "model.h": thread_model_text(config.model, task_shape, config.dtype, is_poisoned),
        "optimiser.h": _text_of(generated_optimiser_or_why(config.optimiser, config.dtype)),
        "schedule.h": _text_of(generated_schedule_or_why(config.schedule, config.dtype)),
    }
    by_kind = {name.removesuffix(".h"): name for name in texts}
    preamble = setting_preamble(config, by_kind, arguments, _row_constants(config))
    headers = ["lanes.h", *texts, "drawn.h" if arguments.is_drawn else "sampled.h", "kernel.h"]
    threads = f"#define THREADS {num_threads or threads_of(config)}"
    return "\n".join([threads, *preamble, Memory.cpp(), single_text(headers, texts)])


def _text_of(found: Generated) -> str:
    """Of an optimiser or a schedule, the same for one lane."""
    if found.text is None:
        raise NoCodeError(found.why_not)
    return found.text


def _row_constants(config: RunConfig) -> dict[str, int]:
    """A run's row is `row_stride` numbers; the optimiser is given pieces of `row_width` of them."""
    itemsize = _ITEMSIZE[config.dtype]
    specs = config.model.parameter_specs(config.task.shape())
    row = plan_row([spec.rows * spec.columns for spec in specs], itemsize)
    return {"row_stride": row.width, "row_width": ALIGNMENT_BYTES // itemsize}
