"""How well any forecast from a window could do: the share of a run's forks that converge, ranked without its noise.

Forks of one run at one step, under fresh data streams, tell how far the state at that step fixes the outcome. The share
of all possible forks that would converge, q, is the best forecast there is of whether a run with that state converges,
when its future data are unknown. So the AUROC of q bounds that of every forecast from the state, and E[q (1 - q)] the
Brier score. Only a noisy q is seen; its distribution is deconvolved by `Mixture`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes, at_risk, has_started
from analysis.uncertainty.intervals import Estimate, from_bootstrap, json_safe, percentile_or_basic
from analysis.uncertainty.mixing import Mixture
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.files import CorruptFileError, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.history import History, RunInfo
from pipeline.store.shapes import CEILING, misfit

CEILING_FILE = "ceiling.json"
# A setting with fewer parents than this is left out of the ceiling.
FEWEST_PARENTS = 10


@dataclass(frozen=True)
class WindowCeiling:
    """The ceiling at `step`, the end of window `fraction`, from P parents with `num_children` forks each.

    `converged_P` of the children of each parent converged. `auroc` is between runs of one setting, settings weighted by
    their pairs among the `num_at_risk` runs; `brier_floor` is over these runs. `num_left_out` of them are of settings
    with fewer than FEWEST_PARENTS parents, which count in neither.
    """

    fraction: float
    step: int
    num_at_risk: int
    num_left_out: int
    num_children: int
    parents: tuple[RunInfo, ...]
    converged_P: Ints
    auroc: Estimate
    brier_floor: Estimate

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a number is undefined. `q` maps the run id of a parent to its children's share."""
        row = {
            "window": self.fraction,
            "step": self.step,
            **_named(self.auroc, "auroc", "low", "high"),
            **_named(self.brier_floor, "brier_floor", "brier_low", "brier_high"),
            "parents": len(self.parents),
            "children": self.num_children,
            "num_at_risk": self.num_at_risk,
            "num_left_out": self.num_left_out,
            "q": {
                run.run_id: count / self.num_children
                for run, count in zip(self.parents, self.converged_P.tolist(), strict=True)
            },
        }
        plain = json_safe(row)
        assert isinstance(plain, dict)
        return plain


def sample_parents(history: History, risk_R: Bools, num_parents: int, seed: int) -> dict[str, list[int]]:
    """setting_id -> rows of a random sample of its runs at risk, all of them where there are no more.

    Drawn by a hash of `seed` and the run id, so other runs do not move the sample, and windows share parents as far as
    they are at risk.
    """
    rows_by: dict[str, list[int]] = {}
    for r in np.flatnonzero(risk_R).tolist():
        rows_by.setdefault(history.runs[r].setting_id, []).append(r)
    return {
        setting: sorted(rows, key=lambda r: _draw(seed, history.runs[r].run_id))[:num_parents]
        for setting, rows in rows_by.items()
    }


def _draw(seed: int, run_id: str) -> str:
    return hashlib.sha256(f"{seed}:{run_id}".encode()).hexdigest()


def can_be_parent(history: History, outcomes: Outcomes, step: int) -> Bools:
    """(R,) True for the runs at risk at `step`: watched beyond it with no outcome by then, and no forks made later."""
    return at_risk(outcomes, step) & has_started(history.runs, step)


def ceiling_at(
    fraction: float,
    step: int,
    history: History,
    risk_R: Bools,
    forks: History,
    fork_outcomes: Outcomes,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> WindowCeiling:
    """The ceiling from `forks`, all at `step`, of runs of `history` that are among those at risk, `risk_R`.

    Every parent must have as many forks as the others, at least 2, none of them censored. 95% intervals resample
    parents, with all that share a seed. Raises ValueError where a fork has no outcome or numbers of forks differ.
    """
    parents, converged_P, num_children = _counts(history, forks, fork_outcomes)
    at_risk_by = _num_by_setting(run for run, is_risk in zip(history.runs, risk_R, strict=True) if is_risk)
    setting_P = np.array([run.setting_id for run in parents])
    kept = [setting for setting in at_risk_by if np.sum(setting_P == setting) >= FEWEST_PARENTS]
    weight_BP = resample(parents, bootstrap, seed).with_estimate()
    won_B, pairs_B, brier_B = (np.zeros(len(weight_BP)) for _ in range(3))
    for setting in kept:
        of_setting_P, size = setting_P == setting, at_risk_by[setting]
        count_P, drawn_BP = converged_P[of_setting_P], weight_BP[:, of_setting_P]
        setting_won_B, setting_pairs_B = Mixture.of_counts(count_P, num_children, drawn_BP).ranked_pairs_B()
        won_B += size**2 * setting_won_B
        pairs_B += size**2 * setting_pairs_B
        brier_B += size * _brier_floor(count_P, num_children, drawn_BP)
    num_kept = sum(at_risk_by[setting] for setting in kept)
    with np.errstate(invalid="ignore"):
        auroc_B, brier_B = np.where(pairs_B > 0, won_B / pairs_B, np.nan), brier_B / max(num_kept, 1)
    return WindowCeiling(
        fraction,
        step,
        int(risk_R.sum()),
        int(risk_R.sum()) - num_kept,
        num_children,
        parents,
        converged_P,
        percentile_or_basic(auroc_B, 0.5, 1.0) if kept else Estimate(np.nan),
        from_bootstrap(brier_B) if kept else Estimate(np.nan),
    )


def _brier_floor(count_P: Ints, num_children: int, weight_BP: Floats) -> Floats:
    """(B,) the mean of q (1 - q), unbiased: k (n - k) / (n (n - 1)) has that expectation for every q."""
    floor_P = count_P * (num_children - count_P) / (num_children * (num_children - 1))
    total_B = weight_BP.sum(axis=1)
    return np.where(total_B > 0, weight_BP @ floor_P / np.maximum(total_B, 1), np.nan)


def _counts(history: History, forks: History, outcomes: Outcomes) -> tuple[tuple[RunInfo, ...], Ints, int]:
    """The parents, how many of their forks converged, and how many forks each has."""
    num_unknown = outcomes.count(CENSORED)
    if num_unknown:
        raise ValueError(f"{forks.name}: {num_unknown} of {len(forks.runs)} forks have no outcome yet")
    results: dict[str, list[bool]] = {}
    for run, kind in zip(forks.runs, outcomes.kind_R, strict=True):
        results.setdefault(str(run.parent), []).append(kind == CONVERGED)
    sizes = {len(result) for result in results.values()}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"{forks.name}: parents must have equal numbers of forks, at least 2; given {sorted(sizes)}")
    parents = tuple(run for run in history.runs if run.run_id in results)
    return parents, np.array([sum(results[run.run_id]) for run in parents], dtype=np.int64), sizes.pop()


def _num_by_setting(runs: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for run in runs:
        found[run.setting_id] = found.get(run.setting_id, 0) + 1
    return found


def _named(estimate: Estimate, *names: str) -> dict[str, float]:
    return dict(zip(names, (estimate.value, estimate.low, estimate.high), strict=True))


def write_ceiling(folder: Path, rows: Sequence[WindowCeiling], about: Mapping[str, Any]) -> None:
    """Writes FOLDER/ceiling.json, sealed, in place of what was there: `about`, and a row for every window."""
    write_file(folder / CEILING_FILE, seal({**about, "rows": [row.to_json() for row in rows]}))


def read_ceiling(folder: Path) -> dict[str, Any] | None:
    """The document in FOLDER/ceiling.json, its `rows` as `WindowCeiling.to_json` gives them; None if there is none.

    Raises CorruptFileError, a damaged file being named.
    """
    path = folder / CEILING_FILE
    if not path.exists():
        return None
    document = unseal(read_file(path), path)
    if (problem := misfit(document, CEILING)) is not None:
        raise CorruptFileError(f"{path}: is no ceiling: {problem}; `seedbed ceiling` makes it anew")
    return document
