"""Two arms compared on their converged share, time to convergence, and final values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import stdtrit

from analysis.comparisons.arms import Pairs
from analysis.comparisons.betting import Anytime, bounded_differences, sign_differences
from analysis.comparisons.final_values import final_values, last_steps
from analysis.comparisons.paired_shares import newcombe_interval
from analysis.comparisons.power import NeededPairs, needed_pairs, pairs_for_mean, pairs_for_share, pairs_for_shift
from analysis.comparisons.pseudo_values import PseudoValues, horizon_of, pseudo_values
from analysis.comparisons.signed_ranks import hodges_lehmann
from analysis.outcomes.outcomes import CENSORED, CONVERGED
from analysis.uncertainty.dependence import SeedGroups
from analysis.uncertainty.estimates import mean_of_runs, median_of_runs
from analysis.uncertainty.intervals import Estimate, json_safe
from pipeline.arrays import Bools, Floats, Ints
from pipeline.counted import counted

_SHARE, _TIME = "converged", "time"
DEFAULT_METRICS = (_SHARE, _TIME, "label_loss")


@dataclass(frozen=True)
class Effect:
    """What arm b has more than arm a, of one metric.

    `a` and `b` are the arms' own figures over the pairs: shares, mean steps up to the horizon, or median values.
    `difference` has the interval of a number of pairs that was fixed before they were looked at, by `method`; `anytime`
    (None with no independent pairs) holds however often one looked. `num_pairs` counts those that `difference` rests
    on, `num_units` the independent ones among them.
    """

    metric: str
    a: float
    b: float
    difference: Estimate
    method: str
    num_pairs: int
    num_units: int
    anytime: Anytime | None
    needed: NeededPairs | None

    def to_json(self) -> dict[str, Any]:
        """All fields, the interval as [value, low, high]."""
        return {**asdict(self), "difference": self.difference.to_json()}


@dataclass(frozen=True)
class ArmComparison:
    """The effects of arm b over arm a by metric, and sentences on what they rest on."""

    pairs: Pairs
    horizon: float
    effects: Mapping[str, Effect]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Arms, pairs, effects and notes, null for what is infinite or undefined."""
        pairs = self.pairs
        whole = {
            "a": pairs.a.name, "b": pairs.b.name, "num_pairs": len(pairs.a_P), "num_alone": list(pairs.num_alone),
            "differing": {path: list(values) for path, values in pairs.differing.items()},
            "matched": list(pairs.matched), "horizon": self.horizon,
            "effects": {name: effect.to_json() for name, effect in self.effects.items()}, "notes": list(self.notes),
        }  # fmt: skip
        found: dict[str, Any] = json_safe(whole)  # type: ignore[assignment]
        return found


def compare(pairs: Pairs, metrics: Sequence[str] = (), wanted: Mapping[str, float] | None = None) -> ArmComparison:
    """The effects on these metrics: `converged`, `time`, or a recorded metric, whose last values are compared.

    `wanted` has the effects, by metric, for which the needed pairs are told; without one the effect that is seen.
    Raises ValueError for a metric that was not recorded, or an effect of one that is not compared.
    """
    measured = _Measured(pairs)
    names = tuple(metrics) or tuple(name for name in DEFAULT_METRICS if name in (_SHARE, _TIME) or _has(pairs, name))
    if strange := set(wanted or ()) - set(names):
        raise ValueError(f"an effect is given on {', '.join(sorted(strange))}, compared are {', '.join(names)}")
    effects = {name: measured.effect(name, (wanted or {}).get(name)) for name in names}
    return ArmComparison(pairs, measured.horizon, effects, tuple(measured.notes(names)))


class _Measured:
    """The pairs with what is computed of them once."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.rows: tuple[Ints, Ints] = (pairs.a_P, pairs.b_P)
        self.outcomes = [
            arm.outcomes.rows(rows) for arm, rows in zip((pairs.a, pairs.b), self.rows, strict=True)
        ]  # fmt: skip
        budget = pairs.a.history.budget
        self.horizon = min(horizon_of(outcomes, budget) for outcomes in self.outcomes)
        self.unit_P = _in_order_seen(SeedGroups.of(pairs.runs).component_R)
        self.is_independent = int(self.unit_P.max()) + 1 == len(self.unit_P)

    @cached_property
    def pseudo(self) -> list[PseudoValues]:
        return [pseudo_values(outcomes, self.horizon) for outcomes in self.outcomes]

    @cached_property
    def known_P(self) -> Bools:
        """Pairs in which neither run is censored."""
        censored = [outcomes.is_kind_R(CENSORED) for outcomes in self.outcomes]
        return np.asarray(~censored[0] & ~censored[1])

    @cached_property
    def whole_units(self) -> Bools:
        """(P,) pairs of the units before the first that has a run in training, so that quick runs do not come first."""
        running_P = np.zeros(len(self.unit_P), dtype=bool)
        for arm, rows in zip((self.pairs.a, self.pairs.b), self.rows, strict=True):
            running_P |= np.array([arm.history.ends[row].reason == "running" for row in rows], dtype=bool)
        first = self.unit_P[running_P].min(initial=len(self.unit_P))
        return np.asarray(self.unit_P < first)

    def effect(self, metric: str, wanted: float | None) -> Effect:
        if metric == _SHARE:
            return self._share(wanted)
        return self._time(wanted) if metric == _TIME else self._final(metric, wanted)

    def _share(self, wanted: float | None) -> Effect:
        a_P, b_P = (values.converged_R for values in self.pseudo)
        is_counted = self.is_independent and np.isin(np.concatenate([a_P, b_P]), (0, 1)).all()
        if is_counted:
            cells = [np.array(float((a * b).sum())) for a in (a_P, 1 - a_P) for b in (b_P, 1 - b_P)]
            low, high = newcombe_interval(cells[0], cells[1], cells[2], cells[3])
            difference, method = Estimate(float((b_P - a_P).mean()), float(low), float(high)), "Newcombe's paired score"
        else:
            difference, method = self._mean(b_P - a_P)
        effect = difference.value if wanted is None else wanted
        pairs = pairs_for_share(effect, float(np.mean(np.abs(b_P - a_P)))) if is_counted else np.inf
        needed = needed_pairs(effect, wanted is None, pairs, len(a_P)) if is_counted else None
        return self._of(_SHARE, a_P, b_P, difference, method, self._bounded(1.0), needed)

    def _time(self, wanted: float | None) -> Effect:
        a_P, b_P = (values.steps_R for values in self.pseudo)
        difference, method = self._mean(b_P - a_P)
        unit_U = _unit_means(b_P - a_P, self.unit_P)
        effect = difference.value if wanted is None else wanted
        needed = None
        if len(unit_U) > 1:
            needed = needed_pairs(effect, wanted is None, pairs_for_mean(effect, unit_U), len(unit_U))
        return self._of(
            _TIME, a_P, b_P, difference, method, self._bounded(float(self.pairs.a.history.budget), True), needed
        )

    def _final(self, metric: str, wanted: float | None) -> Effect:
        found = [final_values(arm, metric) for arm in (self.pairs.a, self.pairs.b)]
        a_P, b_P = (values[rows] for (values, _), rows in zip(found, self.rows, strict=True))
        known_P = found[0][1][self.rows[0]] & found[1][1][self.rows[1]]
        difference_P = _difference(a_P, b_P)
        used_P, unit_P = difference_P[known_P], self.unit_P[known_P]
        runs = [run for run, is_known in zip(self.pairs.runs, known_P, strict=True) if is_known]
        needed = None
        if len(np.unique(unit_P)) == len(unit_P):
            shown, most = _ranked(used_P)
            difference, method = shown, "Hodges-Lehmann, Wilcoxon's signed ranks"
            effect = difference.value if wanted is None else wanted
            if len(used_P) > 1 and np.isfinite(effect):
                finite_P = np.clip(used_P, -most, most)
                needed = needed_pairs(effect, wanted is None, pairs_for_shift(effect, finite_P), len(used_P))
        else:
            difference, method = median_of_runs(used_P, runs), "median, bootstrap over seeds"
        in_order_P = known_P & self.whole_units
        ordered_U = _unit_medians(difference_P[in_order_P], self.unit_P[in_order_P])
        anytime = sign_differences(ordered_U) if self._has_units(in_order_P) else None
        return self._of(metric, a_P[known_P], b_P[known_P], difference, method, anytime, needed, np.median, unit_P)

    def _bounded(self, scale: float, is_time: bool = False) -> Anytime | None:
        """On pairs that both have an outcome, up to the budget: a horizon that moves between looks would not do."""
        use_P = self.known_P & self.whole_units
        if not self._has_units(use_P):
            return None
        first, second = ((values.steps_R if is_time else values.converged_R)[use_P] for values in self._plain)
        found = bounded_differences(_unit_means((second - first) / scale, self.unit_P[use_P]))
        return Anytime(found.e_value, scale * found.low, scale * found.high, found.num_units)

    @cached_property
    def _plain(self) -> list[PseudoValues]:
        """The values of known runs themselves, which do not depend on others; 0 for censored ones."""
        return [
            PseudoValues(
                outcomes.is_kind_R(CONVERGED).astype(np.float64),
                np.where(outcomes.is_kind_R(CONVERGED), outcomes.upper_R, self.pairs.a.history.budget),
            )
            for outcomes in self.outcomes
        ]

    def _has_units(self, use_P: Bools) -> bool:
        """Whether there are independent units: crossed seeds link all pairs."""
        return len(np.unique(self.unit_P[use_P])) > (0 if self.is_independent else 1)

    def _mean(self, difference_P: Floats) -> tuple[Estimate, str]:
        unit_U = _unit_means(difference_P, self.unit_P)
        if len(unit_U) == 1 < len(difference_P):
            return mean_of_runs(difference_P, self.pairs.runs), "bootstrap over seeds"
        mean, method = float(unit_U.mean()), "paired t" if self.is_independent else "t over groups of pairs"
        if len(unit_U) < 2 or np.ptp(unit_U) == 0:
            return Estimate(mean), method
        half = float(stdtrit(len(unit_U) - 1, 0.975) * unit_U.std(ddof=1) / np.sqrt(len(unit_U)))
        return Estimate(mean, mean - half, mean + half), method

    def _of(
        self, metric: str, a_P: Floats, b_P: Floats, difference: Estimate, method: str, anytime: Anytime | None,
        needed: NeededPairs | None, middle: Any = np.mean, unit_P: Ints | None = None,
    ) -> Effect:  # fmt: skip
        a, b = (float(middle(values)) if len(values) else np.nan for values in (a_P, b_P))
        num_units = len(np.unique(self.unit_P if unit_P is None else unit_P))
        return Effect(metric, a, b, difference, method, len(a_P), num_units, anytime, needed)

    def notes(self, names: Sequence[str]) -> list[str]:
        """What to know of the pairs."""
        return _notes(self, names)


def _notes(measured: _Measured, names: Sequence[str]) -> list[str]:
    pairs, told = measured.pairs, []
    if any(pairs.num_alone):
        told.append(
            f"without a partner, and left out: {counted(pairs.num_alone[0], 'run')} of a, {pairs.num_alone[1]} of b"
        )
    if pairs.matched:
        told.append(f"paired at equal values of {', '.join(pairs.matched)}")
    unknown = int((~measured.known_P).sum())
    if unknown:
        told.append(
            f"{unknown} of {len(pairs.a_P)} pairs have a run whose outcome is not known (stopped, failed or in "
            "training): censored, as if that had nothing to do with how it trains; anytime figures leave them out"
        )
    ends = {arm.history.ends[row].reason for arm, rows in zip((pairs.a, pairs.b), measured.rows, strict=True)
            for row in rows}  # fmt: skip
    if "stopped" in ends:
        told.append("runs were stopped for what they looked like, so that censoring does depend on it: expect bias")
    if measured.horizon < pairs.a.history.budget:
        told.append(f"convergence and time are judged up to step {measured.horizon:g}, the last that both arms have")
    if not measured.is_independent:
        told.append(f"pairs share seeds: {int(measured.unit_P.max()) + 1} independent group(s) of them")
    for name in names:
        if name not in (_SHARE, _TIME) and _ends_differ(measured, name):
            told.append(f"{name} is of each run's last evaluation, and these are not all at one step")
    return told


def _ends_differ(measured: _Measured, metric: str) -> bool:
    steps = np.concatenate(
        [last_steps(arm, metric)[rows] for arm, rows in zip((measured.pairs.a, measured.pairs.b), measured.rows,
                                                            strict=True)]
    )  # fmt: skip
    return len(np.unique(steps[np.isfinite(steps)])) > 1


def _has(pairs: Pairs, metric: str) -> bool:
    return all(metric in arm.history.values for arm in (pairs.a, pairs.b))


def _difference(a_P: Floats, b_P: Floats) -> Floats:
    """b - a, where two runs that both are infinitely bad do not differ."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(a_P) & (a_P == b_P), 0.0, b_P - a_P)


def _ranked(difference_P: Floats) -> tuple[Estimate, float]:
    """Estimate and interval of differences that may be infinite; and how far away these were put for it."""
    finite_P = difference_P[np.isfinite(difference_P)]
    most = 4 * float(np.abs(finite_P).max(initial=1e-12))
    estimate, low, high = (float(found[0]) for found in hodges_lehmann(np.clip(difference_P, -most, most)[None]))
    # Means with an infinite one lie beyond all others.
    ends = [np.copysign(np.inf, end) if abs(end) > most / 4 else end for end in (low, high)]
    return Estimate(estimate if abs(estimate) <= most / 4 else np.nan, ends[0], ends[1]), most


def _in_order_seen(number_P: Ints) -> Ints:
    """The numbers of groups, counted anew in the order in which pairs show them."""
    seen = {number: place for place, number in enumerate(dict.fromkeys(number_P.tolist()))}
    return np.array([seen[number] for number in number_P.tolist()], dtype=np.int64)


def _unit_means(value_P: Floats, unit_P: Ints) -> Floats:
    """(U,) means over the pairs of each unit, in their order."""
    index_P = np.unique(unit_P, return_inverse=True)[1]
    return np.asarray(np.bincount(index_P, value_P) / np.bincount(index_P), dtype=np.float64)


def _unit_medians(value_P: Floats, unit_P: Ints) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.array([np.median(value_P[unit_P == unit]) for unit in np.unique(unit_P)], dtype=np.float64)
