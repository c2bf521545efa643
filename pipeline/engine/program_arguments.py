"""The structures that a compiled program is called with, declared once: as ctypes, and as the C++ of its preamble.

No torch: arrays are anything contiguous with a `data_ptr`.
"""

from __future__ import annotations

import ctypes
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from pipeline.store.pack_store import StoreError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.spec.run_config import RunConfig

    Value = int | Tensor | list[Tensor] | None

_INTEGER = "std::int64_t"
_INTEGERS = "const std::int64_t*"
# Of examples that are drawn before, for every slot: addresses of inputs and targets, the first of the steps that stand
# there, and the rows of each.
DRAWN = ("inputs", "targets", "first_step", "rows")


class ProgramMismatchError(StoreError):
    """A compiled program and the process that loads it disagree about arguments; the message names the file."""


@dataclass(frozen=True)
class Member:
    """A 64-bit integer, a pointer, or an array of `length` pointers; REAL is the program's own type of real number."""

    name: str
    cpp_type: str
    length: int | None = None

    @property
    def cpp(self) -> str:
        """Its declaration in C++."""
        return f"{self.cpp_type} {self.name}{'' if self.length is None else f'[{self.length}]'};"

    @property
    def ctype(self) -> type:
        """Its type in ctypes."""
        if self.length is not None:
            return ctypes.c_void_p * self.length
        return ctypes.c_void_p if self.cpp_type.endswith("*") else ctypes.c_int64

    def converted(self, value: Value) -> object:
        """What ctypes stores for an integer, an array, None (a null pointer), or a list of arrays."""
        if isinstance(value, list):
            assert self.length is not None
            return (ctypes.c_void_p * self.length)(*map(_address, value))
        return value if value is None or isinstance(value, int) else _address(value)


class Arguments(ctypes.Structure):
    """Base of the structures, constructed from exactly its members by name. Keeps the memory it points to alive."""

    members: ClassVar[tuple[Member, ...]]

    def __init__(self, **values: Value) -> None:
        expected = [member.name for member in self.members]
        if values.keys() != set(expected):
            raise TypeError(f"{type(self).__name__} has {', '.join(expected)}; given {', '.join(values)}")
        super().__init__(**{member.name: member.converted(values[member.name]) for member in self.members})
        self._alive = values

    @classmethod
    def cpp(cls) -> str:
        """The structure in C++."""
        return "\n".join([f"struct {cls.__name__} {{", *(f"  {member.cpp}" for member in cls.members), "};"])


def _declared(name: str, *members: Member) -> type[Arguments]:
    fields = [(member.name, member.ctype) for member in members]
    return type(name, (Arguments,), {"members": members, "_fields_": fields})


# The slots to compute, by threads that take them in turn.
Selection = _declared(
    "Selection", Member("slots", _INTEGERS), Member("count", _INTEGER), Member("num_threads", _INTEGER)
)
# Sets of keys that queries should attend to. Mask m has the cells starts[m] .. starts[m + 1] - 1: cell c stands at
# query * LENGTH + key = places[c], and cells holds, for every block of items, 0 or 1 in each lane of each cell.
Masks = _declared(
    "Masks",
    Member("count", _INTEGER),
    Member("starts", _INTEGERS),
    Member("places", _INTEGERS),
    Member("cells", "const REAL*"),
)
# Output arrays for the attention of the first items; there may be none.
Maps = _declared("Maps", Member("num_items", _INTEGER), Member("values", "REAL*"))
# What a kernel needs besides, a row for each block of threads: three of a run's width, and the numbers of Model::Tape.
Memory = _declared("Memory", *(Member(name, "REAL*") for name in ("gradient", "before", "fixed", "scalars")))


@dataclass(frozen=True)
class ProgramArguments:
    """The structures for runs of one static setting, whose arrays are pointed to in the order of these names."""

    moments: tuple[str, ...]
    scalars: tuple[str, ...]
    optimiser: tuple[str, ...]
    schedule: tuple[str, ...]
    task_vectors: tuple[str, ...]
    streams: tuple[str, ...]
    noise: tuple[str, ...] = ()
    is_drawn: bool = False

    @staticmethod
    def of(config: RunConfig, is_drawn: bool = False) -> ProgramArguments:
        """The structures for all runs with `config`'s static hyperparameters.

        Where examples are drawn before the program is called, DRAWN takes the place of the streams' keys.
        """
        return ProgramArguments(
            moments=config.optimiser.moments,
            scalars=tuple(config.optimiser.scalars),
            optimiser=config.optimiser.vector_fields(),
            schedule=config.schedule.vector_fields(),
            task_vectors=() if is_drawn else config.task.vector_fields(),
            streams=DRAWN if is_drawn else config.task.streams,
            noise=config.model.noise_streams(config.task.shape()),
            is_drawn=is_drawn,
        )

    @cached_property
    def Arrays(self) -> type[Arguments]:
        """The arrays of a block, slot axis first."""
        return _declared(
            "Arrays",
            Member("weights", "REAL*"),
            _pointers("moments", "REAL*", self.moments),
            _pointers("scalars", "REAL*", self.scalars),
            Member("steps", "std::int64_t*"),
            *(Member(name, "REAL*") for name in ("train_loss", "grad_norm", "update_norm")),
            _pointers("columns", "const REAL*", (*self.optimiser, *self.schedule)),
            _pointers("task_vectors", "const REAL*", self.task_vectors),
            _pointers("keys", _INTEGERS, self.streams),
            _pointers("noise", _INTEGERS, self.noise),
        )

    @cached_property
    def HeldOut(self) -> type[Arguments]:
        """Items of held-out streams, whose keys are given slot by slot."""
        return _declared("HeldOut", _pointers("keys", _INTEGERS, self.streams), Member("num_items", _INTEGER))

    @property
    def structures(self) -> tuple[type[Arguments], ...]:
        """All structures, in the order of the preamble."""
        return self.Arrays, Selection, self.HeldOut, Masks, Maps

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every structure's members and of the names of the arrays that they point to."""
        declarations = [structure.cpp() for structure in self.structures]
        return hashlib.sha256(repr([self, declarations]).encode()).hexdigest()[:16]

    def preamble(self) -> list[str]:
        """Lines of C++: the structures, and the fingerprint and sizes that a program reports to `check`."""
        sizes = ", ".join(f"sizeof({structure.__name__})" for structure in self.structures)
        return [
            "#include <cstdint>",
            *(structure.cpp() for structure in self.structures),
            f'#define ARGUMENTS_FINGERPRINT "{self.fingerprint}"',
            f"#define ARGUMENTS_SIZES {{{sizes}}}",
        ]

    def check(self, library: ctypes.CDLL) -> None:
        """Raises ProgramMismatchError unless the program was compiled for these very structures."""
        library.seedbed_fingerprint.restype = ctypes.c_char_p
        library.seedbed_size_of.restype = ctypes.c_int64
        sizes = [library.seedbed_size_of(index) for index in range(len(self.structures))]
        wanted = [ctypes.sizeof(structure) for structure in self.structures]
        found = library.seedbed_fingerprint().decode()
        if (found, sizes) != (self.fingerprint, wanted):
            raise ProgramMismatchError(
                f"{library._name}: was compiled for arguments {found} of {sizes} bytes, and is called with "
                f"{self.fingerprint} of {wanted} bytes; delete the file, and it is compiled again"
            )


def _pointers(name: str, cpp_type: str, arrays: tuple[str, ...]) -> Member:
    # An array of no pointers is not C++.
    return Member(name, cpp_type, max(1, len(arrays)))


def _address(array: Tensor) -> int:
    assert array.is_contiguous()
    return array.data_ptr()
