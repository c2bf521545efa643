"""Compiles and calls the training program of one static setting."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.codegen.generated import (
    Generated,
    generated_optimiser_or_why,
    generated_or_why,
    generated_schedule_or_why,
    generated_task_or_why,
)
from pipeline.codegen.kept_text import is_ours
from pipeline.engine.program_arguments import ProgramArguments
from pipeline.numerics.alignment import plan_row
from pipeline.numerics.compiler import compiled, instruction_sets, toolchain
from pipeline.numerics.cpp_names import cpp_name

if TYPE_CHECKING:
    from pipeline.spec.parameters import Registered
    from pipeline.spec.run_config import RunConfig

# The names under which a program includes what was written for its parts; those that take longest to write last.
_GENERATED = {kind: f"generated_{kind}.h" for kind in ("schedule", "optimiser", "task", "model")}
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
        num_layers: int = library.seedbed_layers()
        # Of each layer's attention map; None where there are maps that the program does not measure.
        self.num_heads: tuple[int, ...] | None = (
            None if num_layers < 0 else tuple(library.seedbed_heads(layer) for layer in range(num_layers))
        )


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
    texts = tuple(written_headers(config).items())
    return _program(preamble, texts, arguments_of(config), instruction_set or instruction_sets()[0])


@cache
def _program(
    preamble: str, texts: tuple[tuple[str, str], ...], arguments: ProgramArguments, instruction_set: str
) -> Program | None:
    library = compiled("program.cpp", preamble, instruction_set, dict(texts))
    return None if library is None else Program(library, arguments)


def arguments_of(config: RunConfig) -> ProgramArguments:
    """The structures with which the program of such runs is called."""
    return ProgramArguments.of(config, is_drawn=bool(written(config).why_drawn))


def preamble_of(config: RunConfig) -> str | None:
    """The headers, constants and structures that a program is compiled for; None where a part of the run has no C++."""
    if missing_part(config):
        return None
    return "\n".join([*setting_preamble(config, _GENERATED, arguments_of(config)), ""])


def setting_preamble(
    config: RunConfig,
    headers: Mapping[str, str],
    arguments: ProgramArguments,
    more: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """Lines of C++: the headers of a run's parts, the constants of its static setting, `more` of them, the structures.

    `headers` has those of "task", "model", "optimiser" and "schedule"; a constant in `more` takes the place of one of
    its name.
    """
    specs = config.model.parameter_specs(config.task.shape())
    row = plan_row([spec.rows * spec.columns for spec in specs], _ITEMSIZE[config.dtype])
    fixed = [
        number
        for spec, offset in zip(specs, row.offsets, strict=True)
        if not spec.trainable
        for number in (offset, spec.rows * spec.columns)
    ]
    numbers = [
        ("row_width", row.width),
        ("batch_size", config.batch_size),
        ("NUM_STREAMS", len(arguments.streams)),
        ("NUM_TASK_VECTORS", len(arguments.task_vectors)),
        ("NUM_NOISE_STREAMS", len(arguments.noise)),
        ("NUM_MOMENTS", len(arguments.moments)),
        ("NUM_SCALARS", len(arguments.scalars)),
        ("NUM_FIXED", sum(not spec.trainable for spec in specs)),
    ]
    numbers = [(name, value) for name, value in numbers if name not in more] + list(more.items())
    return [
        f"#define REAL {_REAL[config.dtype]}",
        *(f'#define {kind.upper()}_HEADER "{header}"' for kind, header in headers.items()),
        f'#define EXAMPLES_HEADER "{"drawn" if arguments.is_drawn else "sampled"}.h"',
        "namespace constants {",
        *(f"constexpr long {name} = {value};" for name, value in numbers),
        f"constexpr long offsets[] = {{{', '.join(map(str, row.offsets))}}};",
        f"constexpr long fixed[] = {{{', '.join(map(str, fixed or [0]))}}};",
        *_places("optimiser", arguments.optimiser),
        *_places("schedule", arguments.schedule, first=len(arguments.optimiser)),
        *_places("stream", arguments.streams),
        *_places("task_vector", arguments.task_vectors),
        "}",
        *arguments.preamble(),
    ]


class Written(NamedTuple):
    """The C++ that is written from torch code, by kind of part, such as "model"; the part that is `missing`, if one is.

    `why_drawn`: why torch draws the examples of a task whose C++ is written; empty where the program does.
    """

    texts: Mapping[str, str]
    missing: str = ""
    why_drawn: str = ""


def written(config: RunConfig) -> Written:
    """The texts for the parts of a run; none where anything is missing."""
    if not config.model.is_traceable(config.task.shape()):
        return Written({}, f"model {config.model.name}")
    texts: dict[str, str] = {}
    why_drawn = ""
    for kind in _GENERATED:
        found = _from_torch(config, kind)
        if found.text is None:
            # What follows would be of no use.
            return Written({}, f"{kind} {_parts(config)[kind].name} ({found.why_not})")
        texts[kind] = found.text
        why_drawn += found.why_drawn
    return Written(texts, "", why_drawn)


def is_written_from_own_code(config: RunConfig) -> bool:
    """Whether C++ is written from torch code that is not of this package, of which nobody has tried programs."""
    return any(not is_ours(_parts(config)[kind]) for kind in written(config).texts)


def written_headers(config: RunConfig) -> dict[str, str]:
    """Name -> text of the headers that a run's program includes beside those of pipeline/native."""
    return {_GENERATED[kind]: text for kind, text in written(config).texts.items()}


def _from_torch(config: RunConfig, kind: str) -> Generated:
    if kind == "schedule":
        return generated_schedule_or_why(config.schedule, config.dtype)
    if kind == "optimiser":
        return generated_optimiser_or_why(config.optimiser, config.dtype)
    if kind == "task":
        return generated_task_or_why(config.task, config.dtype)
    return generated_or_why(config.model, config.task.shape(), config.dtype)


def _parts(config: RunConfig) -> dict[str, Registered]:
    return {"task": config.task, "model": config.model, "optimiser": config.optimiser, "schedule": config.schedule}


def _places(part: str, names: tuple[str, ...], first: int = 0) -> list[str]:
    """C++ constants with each name's index in its array, in one namespace per part, since parts may share names."""
    places = (f"constexpr int {cpp_name(name)} = {first + index};" for index, name in enumerate(names))
    return [f"namespace {part} {{", *places, "}"]


def missing_part(config: RunConfig) -> str:
    """A part of a run for which no C++ can be written, and why, such as "model flat"; empty where there is none."""
    return written(config).missing


def why_torch(config: RunConfig) -> str | None:
    """A sentence on why a run cannot be compiled and what that costs; None if it can be."""
    missing = missing_part(config)
    return f"{missing} has no compiled form; {COST_OF_TORCH}" if missing else None
