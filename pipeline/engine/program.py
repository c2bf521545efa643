"""The training of one static setting as a compiled program. No torch."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

from pipeline.numerics.alignment import plan_row
from pipeline.numerics.compiler import compiled, toolchain
from pipeline.numerics.native_source import HasNative, twin_of

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig

_ITEMSIZE = {"float32": 4, "float64": 8}
_REAL = {"float32": "float", "float64": "double"}
# Rows S1, S3 and S4 of the README's table of speeds: the least and the most that a compiled program gained.
COST_OF_TORCH = (
    "compiled programs are 2.6 to 78 times as fast as torch, one run at a time, on the shapes of docs/speed.md"
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
    """The headers and constants that the program is compiled for; None where a part of the run has no C++."""
    if without_twin(config):
        return None
    twins = {name: twin for name, part in _parts(config).items() if (twin := twin_of(part)) is not None}
    specs = config.model.parameter_specs(config.task.interface())
    row = plan_row([spec.rows * spec.columns for spec in specs], _ITEMSIZE[config.dtype])
    optimiser, schedule = config.optimiser.vector_fields(), config.schedule.vector_fields()
    numbers: list[tuple[str, int | float]] = [
        *(item for twin in twins.values() for item in twin.constants.items()),
        ("row_width", row.width),
        ("batch_size", config.batch_size),
        ("NUM_STREAMS", len(config.task.streams)),
        ("NUM_TASK_VECTORS", len(config.task.vector_fields())),
        ("NUM_MOMENTS", len(config.optimiser.moments)),
        ("NUM_SCALARS", len(config.optimiser.scalars)),
        ("NUM_COLUMNS", len(optimiser) + len(schedule)),
    ]
    lines = [
        f"#define REAL {_REAL[config.dtype]}",
        *(f'#define {name.upper()}_HEADER "{twin.header}"' for name, twin in twins.items()),
        "namespace constants {",
        *(
            f"constexpr {'double' if isinstance(value, float) else 'long'} {name} = {value!r};"
            for name, value in numbers
        ),
        f"constexpr long offsets[] = {{{', '.join(map(str, row.offsets))}}};",
        *_places("optimiser", optimiser, 0),
        *_places("schedule", schedule, len(optimiser)),
        "}",
        "",
    ]
    return "\n".join(lines)


def _parts(config: RunConfig) -> dict[str, HasNative]:
    return {"task": config.task, "model": config.model, "optimiser": config.optimiser, "schedule": config.schedule}


def _places(part: str, names: tuple[str, ...], first: int) -> list[str]:
    """Where each hyperparameter stands among the columns, in a namespace of its own: parts may use the same names."""
    places = (f"constexpr int {name} = {first + index};" for index, name in enumerate(names))
    return [f"namespace {part} {{", *places, "}"]


def without_twin(config: RunConfig) -> list[str]:
    """Which of task, model, optimiser and schedule have no compiled form, such as "model flat".

    Empty where a program can be compiled. One that has a compiled form under other parameters alone is given as
    "model linear_self_attention under these parameters".
    """
    return [
        f"{kind} {part.name}" + (" under these parameters" if "native" in vars(type(part)) else "")
        for kind, part in _parts(config).items()
        if twin_of(part) is None
    ]


def why_torch(config: RunConfig) -> str | None:
    """In a sentence, what keeps a run from being compiled and what that costs; None where nothing does."""
    missing = without_twin(config)
    if not missing:
        return None
    verb = "has" if len(missing) == 1 else "have"
    return f"{' and '.join(missing)} {verb} no compiled form; {COST_OF_TORCH}"
