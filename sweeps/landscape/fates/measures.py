"""Measures of the claims on fates: how far the state at a step fixes the time, and whose time a mixed state takes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.seed_variance import SeedVariance, seed_variance
from analysis.dynamics.walsh import WalshSpectrum, main_effects, squares, walsh_coefficients, walsh_spectrum
from analysis.outcomes.outcomes import CONVERGED, Outcomes, decide_outcomes
from analysis.outcomes.subsets import joined, some_runs
from analysis.uncertainty.intervals import Estimate, wilson
from analysis.uncertainty.student import mean_over_units
from pipeline.arrays import Floats, Ints
from pipeline.store.history import History
from sweeps.landscape.fates.study import EXCHANGED, FIRST_FATES, PARTS, ExchangedPair
from sweeps.landscape.measures import KEPT_ACCURACY, log_times

# About the median time of the 64 init seeds that the parents are taken from.
DEADLINE = 1100
# A parent is committed where at most this share of its forks, or all but that, meets the deadline.
SELDOM = 0.1
_BOOTSTRAP = 1000


@dataclass(frozen=True)
class Fates:
    """Forks of P parents, the fastest first, from S steps on, under N data streams.

    `early_PS` is the share of a parent's forks that converge by the deadline, of `num_forks` each; `time_P` the
    parent's own time, the budget where it did not converge. `forks` are the runs of all of them, with their outcomes.
    """

    steps_S: Ints
    early_PS: Floats
    num_forks: int
    time_P: Floats
    forks: History
    outcomes: Outcomes

    def variance(self, step: int) -> SeedVariance:
        """Of log time at one step: the shares of parents, which their state fixes, of data streams, and of the rest."""
        is_at_R = np.array([run.fork_step == step for run in self.forks.runs])
        runs = [run for run, is_at in zip(self.forks.runs, is_at_R, strict=True) if is_at]
        return seed_variance(self.outcomes.rows(is_at_R), runs, self.forks.budget, bootstrap=_BOOTSTRAP)

    def commit_times(self) -> list[Estimate]:
        """Of each parent the fork step from which on, there and at every later one, it is committed.

        NaN where it is not committed at the last step. Intervals are over its own forks (binomial).
        """
        rng = np.random.default_rng(0)
        found = []
        for share_S in self.early_PS:
            drawn_BS = rng.binomial(self.num_forks, share_S, size=(_BOOTSTRAP, len(share_S))) / self.num_forks
            step_B = self._committed_B(np.vstack([share_S, drawn_BS]))
            low, high = np.quantile(np.nan_to_num(step_B[1:], nan=np.inf), [0.025, 0.975], method="nearest")
            found.append(Estimate(float(step_B[0]), float(low), float(high)))
        return found

    def _committed_B(self, share_BS: Floats) -> Floats:
        """(B,) the step after the last one at which it is not committed; NaN where that is the last of all."""
        is_open_BS = (share_BS > SELDOM) & (share_BS < 1 - SELDOM)
        num_steps = len(self.steps_S)
        after_B = np.where(is_open_BS.any(1), num_steps - np.argmax(is_open_BS[:, ::-1], axis=1), 0)
        return np.append(self.steps_S.astype(np.float64), np.nan)[after_B]


def forked_fates(sweeps: Sweeps, parents_and_forks: Sequence[tuple[str, str]] = (FIRST_FATES,)) -> Fates:
    """Of sweeps of parents and of their forks; of several, under the data streams that all have, the fastest first.

    Raises UndecidedError where a parent lacks forks at a step.
    """
    parents = joined([sweeps[name].history for name, _ in parents_and_forks])
    of_forks = [sweeps[name].history for _, name in parents_and_forks]
    log_time_P, _ = log_times(parents)
    streams = set.intersection(*({run.data_seed for run in history.runs} for history in of_forks))
    forks = joined(of_forks)
    forks = some_runs(forks, np.array([run.data_seed in streams for run in forks.runs]))
    outcomes = decide_outcomes(forks, KEPT_ACCURACY)
    is_early_R = (outcomes.kind_R == CONVERGED) & (outcomes.upper_R <= DEADLINE)
    parent_R = np.array([run.parent for run in forks.runs])
    step_R = np.array([run.fork_step for run in forks.runs])
    steps_S = np.unique(step_R)
    # One sweep's parents stay in its order, in which another sweep ranked them.
    order_P = np.argsort(log_time_P, kind="stable") if len(parents_and_forks) > 1 else np.arange(len(log_time_P))
    ids = [parents.runs[p].run_id for p in order_P]
    place_of = {(run, step): (parent_R == run) & (step_R == step) for run in ids for step in steps_S.tolist()}
    counts = {int(at_R.sum()) for at_R in place_of.values()}
    if len(counts) > 1:
        raise UndecidedError("parents have unequal numbers of forks")
    early_PS = np.array([[is_early_R[place_of[run, step]].mean() for step in steps_S.tolist()] for run in ids])
    return Fates(steps_S, early_PS, counts.pop(), np.exp(log_time_P[order_P]), forks, outcomes)


def share_by_state(sweeps: Sweeps, *, step: int, of: tuple[str, str] = FIRST_FATES) -> Evidence:
    """Share of the variance of log time, over parents and data streams, that the state at this step fixes."""
    found = forked_fates(sweeps, (of,))
    at = found.variance(step)
    note = f"{at.num_init} parents, {at.num_data} data streams; without the slowest {at.init_without_slowest.text()}."
    return _of_parents(found, at.init, note)


def share_committed(sweeps: Sweeps, *, by: int, of: tuple[str, str] = FIRST_FATES) -> Evidence:
    """Share of parents that are committed from this step on, and from no later one."""
    found = forked_fates(sweeps, (of,))
    times = [time.value for time in found.commit_times()]
    estimate = wilson(sum(time <= by for time in times), len(times))
    steps = ", ".join("later" if np.isnan(time) else f"{time:g}" for time in times)
    return _of_parents(found, estimate, f"Committed from step {steps}, the fastest parent first.")


def _of_parents(found: Fates, estimate: Estimate, note: str) -> Evidence:
    num_runs = found.early_PS.size * found.num_forks
    return Evidence(estimate.value, estimate.low, estimate.high, num_runs, note, "parents", len(found.early_PS))


@dataclass(frozen=True)
class Exchange:
    """Log times (S, D, C) of all mixtures of a pair's states at S steps; bit g of C: part g is the slow run's."""

    pair: ExchangedPair
    steps_S: Ints
    values_SDC: Floats
    num_late: int

    def spectrum(self, step: int) -> WalshSpectrum:
        """The Walsh spectrum of the mixtures of one step."""
        return walsh_spectrum(self.at(step))

    def at(self, step: int) -> Floats:
        """(D, C) the log times of one step."""
        return np.asarray(self.values_SDC[self.steps_S.tolist().index(step)])


def exchanges(sweeps: Sweeps) -> list[Exchange]:
    """Those of the pairs whose sweeps are there. Raises UndecidedError where none is, or one has not ended."""
    found = [exchange(sweeps[pair.name].history, pair) for pair in EXCHANGED if sweeps.has(pair.name)]
    if not found:
        raise UndecidedError("no exchange is there")
    return found


def exchange(history: History, pair: ExchangedPair) -> Exchange:
    """The tables of one sweep. Raises UndecidedError where a mixture was not trained."""
    value_R, is_late_R = log_times(history)
    steps = sorted({int(run.fork_step or 0) for run in history.runs})
    seeds = sorted({run.data_seed for run in history.runs})
    values_SDC = np.full((len(steps), len(seeds), 2 ** len(PARTS)), np.nan)
    for run, value in zip(history.runs, value_R, strict=True):
        place = sum(1 << g for g, names in enumerate(PARTS.values()) if names[0] in run.taken)
        values_SDC[steps.index(int(run.fork_step or 0)), seeds.index(run.data_seed), place] = value
    if np.isnan(values_SDC).any():
        raise UndecidedError(f"{history.name}: {int(np.isnan(values_SDC).sum())} mixtures were not trained")
    return Exchange(pair, np.array(steps), values_SDC, int(is_late_R.sum()))


def mixture_shares_by_pair(found: list[Exchange], step: int, first: int, last: int) -> Floats:
    """(P,) the share of each pair's returning variance in these orders, of mixtures at one step."""
    return np.array([each.spectrum(step).share(first, last).value for each in found])


def main_effects_by_pair(found: list[Exchange], step: int) -> Floats:
    """(P, G) the share of each pair's returning variance that is the main effect of each part."""
    return np.array([[effect.value for effect in main_effects(each.at(step))] for each in found])


def joint_effects_by_pair(found: list[Exchange], step: int) -> dict[str, Floats]:
    """By two parts (P,) the share of each pair's returning variance that is the interaction of these two alone."""
    square_PC = np.array([squares(walsh_coefficients(each.at(step))) for each in found])
    total_P = square_PC[:, 1:].sum(1)
    return {
        f"{one} and {other}": np.asarray(square_PC[:, 1 << g | 1 << h] / total_P)
        for (g, one), (h, other) in itertools.combinations(enumerate(PARTS), 2)
    }


def slow_down_by_pair(found: list[Exchange], step: int) -> Floats:
    """(P,) mean log time of the mixtures with parts of both runs, less that of the two unmixed ones."""
    mean_PC = np.array([each.at(step).mean(0) for each in found])
    return np.asarray(mean_PC[:, 1:-1].mean(1) - mean_PC[:, [0, -1]].mean(1))


def mean_share_of_mixtures(sweeps: Sweeps, *, step: int, first: int, last: int) -> Evidence:
    """Mean over pairs of the share of these orders, of mixtures at one step."""
    found = exchanges(sweeps)
    return _over_pairs(found, mixture_shares_by_pair(found, step, first, last))


def change_of_share(sweeps: Sweeps, *, first: int, last: int, step: int, since: int = 0) -> Evidence:
    """Mean over pairs of the share of these orders at one step, less that at an earlier one."""
    found = exchanges(sweeps)
    return _over_pairs(
        found, mixture_shares_by_pair(found, step, first, last) - mixture_shares_by_pair(found, since, first, last)
    )


def mean_main_effect(sweeps: Sweeps, *, part: str, step: int) -> Evidence:
    """Mean over pairs of the share that is one part's main effect, of mixtures at one step."""
    found = exchanges(sweeps)
    return _over_pairs(found, main_effects_by_pair(found, step)[:, list(PARTS).index(part)])


def change_of_slow_down(sweeps: Sweeps, *, step: int, since: int = 0) -> Evidence:
    """Mean over pairs of how much slower mixtures are than unmixed runs in log time, less that at an earlier step."""
    found = exchanges(sweeps)
    return _over_pairs(found, slow_down_by_pair(found, step) - slow_down_by_pair(found, since))


def _over_pairs(found: list[Exchange], value_P: Floats) -> Evidence:
    estimate = mean_over_units(value_P)
    num_runs, num_late = sum(each.values_SDC.size for each in found), sum(each.num_late for each in found)
    by_pair = "; ".join(f"{value:.2f}" for value in value_P)
    note = f"By pair {by_pair}. {num_late} of {num_runs} runs count with the budget."
    return Evidence(estimate.value, estimate.low, estimate.high, num_runs, note, "pairs of runs", len(found))
