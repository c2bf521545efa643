"""Ends of runs as a commit record has them: what many runs have in common once, and by run an id and a digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.store.records.packed import Digests, Ids, counts_of, number_misfit, numbered_rows

# Ends of a run that raised an error, and of one that is to be tried again after it.
FAILED_RUN, RETRIED_RUN = "failed", "retried"


@dataclass(frozen=True)
class Ended:
    """The end of a run as a record names it. `weights_sha256` is over the unpadded weights at `step`.

    `is_converged` is by the sweep's criterion at that step; analysis recomputes it from the history. `sources` are the
    digests of the texts that computed the run, in order: one, unless a change of code was accepted on the way; none in
    records of versions before 0.2. `slots` are the numbers of slots under which it was computed, in order; none where
    that was the plan's throughout. A run that failed has a `cause`, and ended at the beginning of the chunk in which it
    raised an error; `weights_sha256` is empty where that is its first one, since no state is kept then.
    """

    reason: str
    step: int
    weights_sha256: str
    is_converged: bool
    sources: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    cause: str = ""

    def is_continued_to(self, budget: int) -> bool:
        """Whether the run goes on under this budget: having ended at a smaller one, or to be tried again."""
        return self.reason == RETRIED_RUN or (self.reason == "budget" and self.step < budget)


class EndColumns(Mapping[str, Ended]):
    """run_id -> its end, from columns; `kinds` are the distinct ends, without digests, and most sweeps have few."""

    def __init__(
        self, run_ids: Ids, kinds: tuple[Ended, ...], kind_of: int | list[int], weights_sha256: Digests
    ) -> None:
        self.run_ids, self.kinds, self.kind_of, self.weights_sha256 = run_ids, kinds, kind_of, weights_sha256

    @staticmethod
    def of(ends: Mapping[str, Ended]) -> EndColumns:
        """The columns of these."""
        if isinstance(ends, EndColumns):
            return ends
        rows = [(e.reason, e.step, "", e.is_converged, e.sources, e.slots, e.cause) for e in ends.values()]
        kinds, kind_of = numbered_rows(rows)
        digests = Digests.of([end.weights_sha256 for end in ends.values()])
        return EndColumns(Ids(" ".join(ends)), tuple(Ended(*kind) for kind in kinds), kind_of, digests)

    @staticmethod
    def from_body(body: Mapping[str, Any]) -> EndColumns:
        """The inverse of `body`."""
        kinds = tuple(
            Ended(**{**kind, "weights_sha256": "", "sources": tuple(kind["sources"]), "slots": tuple(kind["slots"])})
            for kind in body["kinds"]
        )
        return EndColumns(Ids(body["run_ids"]), kinds, body["kind_of"], Digests(body["weights_sha256"]))

    def body(self) -> dict[str, Any]:
        """As plain values."""
        kinds = [vars(kind).copy() for kind in self.kinds]
        for kind in kinds:
            del kind["weights_sha256"]
        digests = self.weights_sha256.stored
        return {"run_ids": self.run_ids.text, "kinds": kinds, "kind_of": self.kind_of, "weights_sha256": digests}

    def misfit(self) -> str | None:
        """Why the columns do not belong together, in a clause; None where they do."""
        number = len(self.run_ids)
        return (
            self.run_ids.misfit()
            or number_misfit(self.kind_of, len(self.kinds), number)
            or self.weights_sha256.misfit(number)
        )

    def kind_by_run(self) -> dict[str, Ended]:
        """run_id -> its end without the digest, for the price of a look-up by run."""
        kinds, kind_of = self.kinds, self.kind_of
        if isinstance(kind_of, int):
            return dict.fromkeys(self.run_ids.words, kinds[kind_of])
        return {run_id: kinds[number] for run_id, number in zip(self.run_ids.words, kind_of, strict=True)}

    def of_reason(self, reason: str) -> dict[str, Ended]:
        """run_id -> its end, of the runs that ended so."""
        if all(kind.reason != reason for kind in self.kinds):
            return {}
        return {run_id: self[run_id] for run_id, kind in self.kind_by_run().items() if kind.reason == reason}

    def counts(self) -> list[tuple[Ended, int]]:
        """The distinct ends, without digests, and how many runs have each."""
        if len(self.kinds) == 1:
            return [(self.kinds[0], len(self))]
        return [*zip(self.kinds, counts_of(self.kind_of, len(self.kinds), len(self)).tolist(), strict=True)]

    def __len__(self) -> int:
        return len(self.run_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._place_of)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._place_of

    def __getitem__(self, run_id: str) -> Ended:
        place = self._place_of[run_id]
        kind = self.kinds[self.kind_of if isinstance(self.kind_of, int) else self.kind_of[place]]
        digest = self.weights_sha256[place]
        return Ended(kind.reason, kind.step, digest, kind.is_converged, kind.sources, kind.slots, kind.cause)

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {run_id: place for place, run_id in enumerate(self.run_ids.words)}
