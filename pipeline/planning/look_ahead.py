"""Look-aheads: from one step on, a short and fast fork of every run, which shows early where the run is going."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.planning.forked import forked_spec
from pipeline.spec.run_config import Setting
from pipeline.spec.sweep import SweepSpec

# Batches of fewer examples than a vector has lanes (sixteen at 512 bits) save nothing in compiled programs.
SMALLEST_BATCH = 16
DEFAULT_RATE = 1.5
# Runs of a look-ahead are evaluated at its end alone; in between, chunks only bound what an interruption loses.
_COARSEST = 10


@dataclass(frozen=True)
class LookAhead:
    """Forks at `step` of `num_steps` steps, under `rate` times the learning rate and `batch` times the batch size.

    `data_seed` None: each fork draws from its parent's own data stream, so of every batch that its parent will see it
    sees the first examples. With a seed, all forks have that one data stream.
    """

    step: int
    num_steps: int
    rate: float = DEFAULT_RATE
    batch: float = 1.0
    data_seed: int | None = None

    @staticmethod
    def costing(
        cost: float,
        step: int,
        budget: int,
        settings: Iterable[Setting],
        rate: float = DEFAULT_RATE,
        batch: float | None = None,
        data_seed: int | None = None,
    ) -> LookAhead:
        """The look-ahead at `step` that takes the share `cost` of a whole run's examples.

        `batch` None: the smallest of 1/4, 1/2 and 1 that leaves every one of `settings` a whole number of at least
        SMALLEST_BATCH examples. Raises ValueError where that share is less than a step, or more than a run.
        """
        if batch is None:
            sizes = {setting.batch_size for setting in settings}
            fits = (share for share in (0.25, 0.5) if all(_is_batch(size * share) for size in sizes))
            batch = next(fits, 1.0)
        for name, value in (("rate", rate), ("batch", batch), ("cost", abs(cost) or 1.0)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0, given {value:g}")
        exact = cost * budget / batch
        unit = math.gcd(_COARSEST, step) if exact >= _COARSEST else 1
        num_steps = round(exact / unit) * unit
        if not 0 < cost <= 1 or num_steps < 1:
            raise ValueError(f"a look-ahead must cost from one step to one run, given {cost:g} of {budget} steps")
        return LookAhead(step, num_steps, rate, batch, data_seed)

    def cost(self, budget: int) -> float:
        """Its examples as a share of those of a whole run: what it costs to compute, nearly."""
        return self.num_steps * self.batch / budget

    def spec(self, parents: SweepSpec, folder: Path, run_ids: Iterable[str]) -> SweepSpec:
        """The sweep of the forks of these runs of `folder`. Raises ValueError where they cannot be changed so."""
        changes: dict[str, Any] = {}
        if self.rate != 1:
            changes["optimiser.lr"] = {"times": self.rate}
        if self.batch != 1:
            changes["batch_size"] = {"times": self.batch}
        fork: dict[str, Any] = {"runs": list(run_ids), "steps": [self.step], "changes": changes}
        if self.data_seed is not None:
            fork["data_seed"] = [self.data_seed]
        chunk = math.gcd(self.step, self.num_steps)
        return forked_spec(parents, folder, f"ahead_{self.step}", fork, self.step + self.num_steps, chunk)

    def about(self, budget: int) -> dict[str, Any]:
        """Plain values that say how it was made, and its cost; equal for look-aheads that can be compared."""
        return {**asdict(self), "cost": self.cost(budget)}


def _is_batch(size: float) -> bool:
    return size >= SMALLEST_BATCH and size == round(size)
