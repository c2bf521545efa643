"""What a machine can compute: the library, device and compiled programs that the numerics of packs ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import torch

from pipeline.engine.program import engines_here
from pipeline.numerics.processor import processor
from pipeline.planning.packs import PROGRAM, Numerics
from pipeline.store.pack_store import StoreError

# How `engine` begins where Trainers train.
_TRAINERS = "lightning-"


class NotHereError(StoreError):
    """This machine cannot compute a pack, or not to the same bits; another may. Nothing was claimed or written.

    `reason` is a clause, such as "planned for a GPU, and this machine has none".
    """

    def __init__(self, pack_id: str, reason: str) -> None:
        super().__init__(f"pack {pack_id} was {reason}, or start the sweep in another folder")
        self.pack_id, self.reason = pack_id, reason

    def __reduce__(self) -> tuple[type[NotHereError], tuple[str, str]]:
        return NotHereError, (self.pack_id, self.reason)


@dataclass(frozen=True)
class Abilities:
    """What one machine has: version of torch, arithmetic of its seedbed, whether a GPU, engines, model of processor.

    `engines` are those of compiled programs: one for every instruction set that its compiler and processor have, the
    largest first; Trainers are of its version of lightning. Machines with equal abilities are of one kind.
    """

    torch: str
    program: str
    has_gpu: bool
    engines: tuple[str, ...]
    processor: str
    lightning: str = ""

    @staticmethod
    def here() -> Abilities:
        """Those of the machine that this process runs on, looked at now."""
        release, has_gpu = _release(torch.__version__), torch.cuda.is_available()
        return Abilities(release, PROGRAM, has_gpu, tuple(engines_here()), processor(), _lightning())

    def lacks(self, wanted: Numerics) -> str | None:
        """What the numerics ask for and what the machine has instead, as a clause; None where it can compute them."""
        if _release(wanted.torch) != self.torch:
            return f"torch {wanted.torch}, and {self._has(self.torch)}: bits may differ; install that version"
        if wanted.program != self.program:
            return (
                f"the arithmetic {wanted.program!r}, and the seedbed there computes {self.program!r}: bits may differ; "
                "go on with the version that began it"
            )
        if wanted.device == "cuda" and not self.has_gpu:
            return f"a GPU, and {self._has('none')}: go on where there is one"
        if wanted.engine.startswith(_TRAINERS):
            asked = wanted.engine.removeprefix(_TRAINERS)
            return None if asked == self.lightning else f"lightning {asked}, and {self._has(self.lightning)}"
        if wanted.engine != "torch" and wanted.engine not in self.engines:
            return (
                f"programs of {wanted.engine}, and {self._has(', '.join(self.engines) or 'no compiler')}: bits may "
                "differ; use that compiler and kind of processor"
            )
        return None

    def _has(self, what: str) -> str:
        return f"this machine ({self.processor or 'processor unknown'}) has {what}"


def machines_in_words(machines: Iterable[Abilities]) -> str:
    """The kinds of machines, each once, by processor and largest engine."""
    kinds = (f"{each.processor or 'processor unknown'}: {next(iter(each.engines), 'no compiler')}" for each in machines)
    return "; ".join(dict.fromkeys(kinds))


@cache
def _lightning() -> str:
    """Its version, which stands in a file: read once, since every pack asks."""
    return version("lightning")


def _release(version: str) -> str:
    """The version without its build, such as +cpu."""
    return version.partition("+")[0]
