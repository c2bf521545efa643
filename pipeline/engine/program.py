"""Compiles and calls the training program of one static setting. Imports no torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline.codegen.generated import Generated, generated_or_why
from pipeline.engine.program_arguments import ProgramArguments
from pipeline.numerics.alignment import plan_row
from pipeline.numerics.compiler import compiled, instruction_sets, toolchain
from pipeline.numerics.native_source import HasNative, Native, native_of

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig

# The name under which a program includes what was written for its model.
_GENERATED = "generated_model.h"
_ITEMSIZE = {"float32": 4, "float64": 8}
_REAL = {"float32": "float", "float64": "double"}
# Smallest and largest ratio to the eager loop in rows S1, S3 and S4 of docs/speed.md.
COST_OF_TORCH = (
    "compiled programs are 2.6 to 78 times as fast as torch, one run at a time, on the shapes of docs/speed.md"
)


class Program:
    """native/program.cpp compiled for one static setting, called with the structures of `arguments`.

    Raises ProgramMismatchError if it was compiled for others.
    """

    def __init__(self, library: ctypes.CDLL, arguments: ProgramArguments) -> None:
        arguments.check(library)
        self.arguments = arguments
        arrays, selection, held_out, masks, maps = map(ctypes.POINTER, arguments.structures)
        self.train = _function(library.seedbed_train, arrays, selection, ctypes.c_int64)
        self.evaluate = _function(library.seedbed_evaluate, arrays, selection, held_out, ctypes.c_void_p)
        self.probe = _function(library.seedbed_probe, arrays, selection, held_out, masks, maps, ctypes.c_void_p)
        # Examples per vector.
        self.num_lanes: int = library.seedbed_lanes()


def _function(function: Any, *argument_types: Any) -> Callable[..., None]:
    function.restype, function.argtypes = None, argument_types
    found: Callable[..., None] = function
    return found


def compiled_engine_of(config: RunConfig, instruction_set: str | None = None) -> str | None:
    """The `engine` of numerics under which this machine trains such runs as a compiled program; None if it cannot.

    By this machine's largest instruction set, or the given one. Compiles the program unless it is cached.
    """
    tools = toolchain(instruction_set)
    return None if tools is None or program_for(config, instruction_set) is None else _engine(tools)


def engines_here() -> dict[str, str]:
    """Engine of compiled programs -> instruction set, for all that this machine can compute."""
    pairs = ((toolchain(instruction_set), instruction_set) for instruction_set in instruction_sets())
    return {_engine(tools): instruction_set for tools, instruction_set in pairs if tools is not None}


def _engine(tools: str) -> str:
    return f"compiled-{tools}"


def program_for(config: RunConfig, instruction_set: str | None = None) -> Program | None:
    """The program for runs of this static setting, by the largest instruction set here or the given one."""
    preamble = preamble_of(config)
    if preamble is None:
        return None
    text = model_text(config)
    return _program(preamble, text or "", ProgramArguments.of(config), instruction_set or instruction_sets()[0])


@cache
def _program(preamble: str, text: str, arguments: ProgramArguments, instruction_set: str) -> Program | None:
    library = compiled("program.cpp", preamble, instruction_set, {_GENERATED: text} if text else {})
    return None if library is None else Program(library, arguments)


def preamble_of(config: RunConfig) -> str | None:
    """The headers, constants and structures that a program is compiled for; None where a part of the run has no C++."""
    if without_native(config):
        return None
    forms = {name: form for name, part in _parts(config).items() if (form := native_of(part)) is not None}
    forms.setdefault("model", Native(_GENERATED))
    specs = config.model.parameter_specs(config.task.shape())
    row = plan_row([spec.rows * spec.columns for spec in specs], _ITEMSIZE[config.dtype])
    arguments = ProgramArguments.of(config)
    numbers: list[tuple[str, int | float]] = [
        *(item for form in forms.values() for item in form.constants.items()),
        ("row_width", row.width),
        ("batch_size", config.batch_size),
        ("NUM_STREAMS", len(arguments.streams)),
        ("NUM_TASK_VECTORS", len(arguments.task_vectors)),
        ("NUM_MOMENTS", len(arguments.moments)),
        ("NUM_SCALARS", len(arguments.scalars)),
    ]
    lines = [
        f"#define REAL {_REAL[config.dtype]}",
        *(f'#define {name.upper()}_HEADER "{form.header}"' for name, form in forms.items()),
        "namespace constants {",
        *(
            f"constexpr {'double' if isinstance(value, float) else 'long'} {name} = {value!r};"
            for name, value in numbers
        ),
        f"constexpr long offsets[] = {{{', '.join(map(str, row.offsets))}}};",
        *_places("optimiser", arguments.optimiser),
        *_places("schedule", arguments.schedule, first=len(arguments.optimiser)),
        *_places("stream", arguments.streams),
        *_places("task_vector", arguments.task_vectors),
        "}",
        *arguments.preamble(),
        "",
    ]
    return "\n".join(lines)


def model_text(config: RunConfig) -> str | None:
    """The C++ that is written from the torch code of a run's model.

    None where the model has a C++ form, where none can be written, and where another part has none, so that it would
    be of no use.
    """
    others = (part for kind, part in _parts(config).items() if kind != "model")
    if native_of(config.model) is not None or any(native_of(part) is None for part in others):
        return None
    return _written(config).text


def _written(config: RunConfig) -> Generated:
    return generated_or_why(config.model, config.task.shape(), config.dtype)


def _parts(config: RunConfig) -> dict[str, HasNative]:
    return {"task": config.task, "model": config.model, "optimiser": config.optimiser, "schedule": config.schedule}


def _places(part: str, names: tuple[str, ...], first: int = 0) -> list[str]:
    """C++ constants with each name's index in its array, in one namespace per part, since parts may share names."""
    places = (f"constexpr int {name} = {first + index};" for index, name in enumerate(names))
    return [f"namespace {part} {{", *places, "}"]


def without_native(config: RunConfig) -> list[str]:
    """Which of task, model, optimiser and schedule have no compiled form, such as "model flat".

    Empty where a program can be compiled. One that has a compiled form only under other parameters is given as
    "model linear_self_attention under these parameters".
    """
    missing = {kind: part for kind, part in _parts(config).items() if native_of(part) is None}
    if "model" in missing and config.model.is_traceable(config.task.shape()):
        # Nothing is traced where another part is missing already.
        why = _written(config).why_not if len(missing) == 1 else ""
        if not why:
            del missing["model"]
        else:
            return [f"model {config.model.name} ({why})"]
    return [
        f"{kind} {part.name}" + (" under these parameters" if "native" in vars(type(part)) else "")
        for kind, part in missing.items()
    ]


def why_torch(config: RunConfig) -> str | None:
    """A sentence on why a run cannot be compiled and what that costs; None if it can be."""
    missing = without_native(config)
    if not missing:
        return None
    verb = "has" if len(missing) == 1 else "have"
    return f"{' and '.join(missing)} {verb} no compiled form; {COST_OF_TORCH}"
