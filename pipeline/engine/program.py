"""The training of one static setting as a compiled program. No torch."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from pipeline.numerics.alignment import plan_row
from pipeline.numerics.compiler import compiled, toolchain

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig

_ITEMSIZE = {"float32": 4, "float64": 8}
_REAL = {"float32": "float", "float64": "double"}
# Constants that only other optimisers and schedules read still have to exist.
_COLUMNS = (
    "lr",
    "beta1",
    "beta2",
    "eps",
    "momentum",
    "weight_decay",
    "clip",
    "warmup_steps",
    "final_fraction",
    "horizon",
)


class Program:
    """`train`, `evaluate` and `probe` of native/program.cpp, for one static setting."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.train, self.evaluate, self.probe = (
            library.seedbed_train,
            library.seedbed_evaluate,
            library.seedbed_probe,
        )
        for function in (self.train, self.evaluate, self.probe):
            function.restype = None
        # Examples that lie side by side in a vector.
        self.num_lanes: int = library.seedbed_lanes()


def native_mode(config: RunConfig) -> str | None:
    """The `mode` of numerics under which this machine trains such runs as a compiled program; None if it cannot.

    Compiles it where that has not been done.
    """
    preamble = preamble_of(config)
    if preamble is None or toolchain() is None or _program(preamble) is None:
        return None
    return f"native-{toolchain()}"


def program_for(config: RunConfig) -> Program | None:
    """The program for runs of this static setting."""
    preamble = preamble_of(config)
    return None if preamble is None else _program(preamble)


@cache
def _program(preamble: str) -> Program | None:
    library = compiled("program.cpp", preamble)
    return None if library is None else Program(library)


def preamble_of(config: RunConfig) -> str | None:
    """The constants that the program is compiled for; None where task or model has no C++."""
    task, model = config.task.native(), config.model.native()
    if task is None or model is None:
        return None
    interface = config.task.interface()
    specs = config.model.parameter_specs(interface)
    row = plan_row([spec.rows * spec.columns for spec in specs], _ITEMSIZE[config.dtype])
    columns = (*config.optimiser.vector_fields(), *config.schedule.vector_fields())
    numbers: Mapping[str, int | float] = {
        **task.constants,
        **model.constants,
        "row_width": row.width,
        "batch_size": config.batch_size,
        "NUM_STREAMS": len(config.task.streams),
        "NUM_TASK_VECTORS": len(config.task.vector_fields()),
        "NUM_COLUMNS": len(columns),
        **{name.upper(): columns.index(name) if name in columns else -1 for name in _COLUMNS},
        "IS_ADAMW": int(config.optimiser.name == "adamw"),
        "IS_CONSTANT": int(config.schedule.name == "constant"),
        "IS_LINEAR": int(config.schedule.name == "linear"),
    }
    lines = [f"constexpr {'double' if isinstance(v, float) else 'long'} {name} = {v!r};" for name, v in numbers.items()]
    return "\n".join(
        [
            f"#define REAL {_REAL[config.dtype]}",
            f'#define TASK_HEADER "{task.header}"',
            f'#define MODEL_HEADER "{model.header}"',
            "namespace constants {",
            *lines,
            f"constexpr long offsets[] = {{{', '.join(map(str, row.offsets))}}};",
            "}",
            "",
        ]
    )
