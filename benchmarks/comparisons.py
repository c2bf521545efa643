"""How comparisons keep their promises on planted effects: coverage, false positives under looking often, and power.

    python -m benchmarks.comparisons 20000

Pairs of arms are drawn from a model in which everything is known: log times to convergence of a pair are normal, with a
correlation that common seeds give, and arm b is slower by a shift. Prints the table of docs/comparisons.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from analysis.comparisons.betting import REFUSED_AT, log_sign_wealth, log_wealth
from analysis.comparisons.paired_shares import newcombe_interval
from analysis.comparisons.power import pairs_for_mean, pairs_for_share, pairs_for_shift
from analysis.comparisons.signed_ranks import hodges_lehmann
from pipeline.arrays import Bools, Floats

BUDGET, MIDDLE, SPREAD = 1000.0, np.log(800.0), 0.6
# Of a large sample that stands for the whole population.
_MANY = 400_000


@dataclass(frozen=True)
class Planted:
    """Comparisons in which log times of arm b are `shift` larger, and those of a pair have this correlation."""

    shift: float
    correlation: float = 0.5

    def times(self, num_comparisons: int, num_pairs: int, seed: int) -> tuple[Floats, Floats]:
        """(S, P) times to convergence in both arms, beyond the budget for runs that do not converge by it."""
        rng = np.random.default_rng(seed)
        shared, own_a, own_b = rng.normal(size=(3, num_comparisons, num_pairs))
        a, b = (np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own for own in (own_a, own_b))
        return np.exp(MIDDLE + SPREAD * a), np.exp(MIDDLE + self.shift + SPREAD * b)

    def shares(self) -> tuple[float, float]:
        """The true shares that converge by the budget."""
        first, second = (
            float(ndtr((np.log(BUDGET) - middle) / SPREAD)) for middle in (MIDDLE, MIDDLE + self.shift)
        )  # fmt: skip
        return first, second

    def mean_steps(self) -> tuple[float, float]:
        """The true mean times up to the budget, of a log-normal distribution that is cut there."""
        means = []
        for middle in (MIDDLE, MIDDLE + self.shift):
            below = ndtr((np.log(BUDGET) - middle - SPREAD**2) / SPREAD)
            means.append(
                np.exp(middle + SPREAD**2 / 2) * below + BUDGET * (1 - ndtr((np.log(BUDGET) - middle) / SPREAD))
            )
        return float(means[0]), float(means[1])


def share_intervals(a_SP: Floats, b_SP: Floats) -> tuple[Floats, Floats]:
    """(S,) ends of Newcombe's interval for the difference of shares that converge."""
    is_a, is_b = a_SP <= BUDGET, b_SP <= BUDGET
    cells = [(one & other).sum(axis=1).astype(np.float64) for one in (is_a, ~is_a) for other in (is_b, ~is_b)]
    return newcombe_interval(*cells)


def mean_intervals(a_SP: Floats, b_SP: Floats) -> tuple[Floats, Floats]:
    """(S,) ends of the paired t-interval for the difference of restricted mean times."""
    difference_SP = np.minimum(b_SP, BUDGET) - np.minimum(a_SP, BUDGET)
    num_pairs = difference_SP.shape[1]
    half_S = stdtrit(num_pairs - 1, 0.975) * difference_SP.std(axis=1, ddof=1) / np.sqrt(num_pairs)
    mean_S = difference_SP.mean(axis=1)
    return mean_S - half_S, mean_S + half_S


def covers(ends: tuple[Floats, Floats], true: float) -> float:
    """Share of intervals that hold the true value."""
    return float(np.mean((ends[0] <= true) & (true <= ends[1])))


def refuses(ends: tuple[Floats, Floats]) -> float:
    """Share of intervals that do not hold 0."""
    return 1 - covers(ends, 0.0)


def ever_refused(log_wealth_SU: Floats) -> float:
    """Share of comparisons in which a bet ever reached the limit, at whichever of the looks."""
    return float(np.mean(log_wealth_SU.max(axis=1) >= np.log(REFUSED_AT)))


def share_wealth(a_SP: Floats, b_SP: Floats, true: float) -> Floats:
    """(S, P) log wealth against a true difference of shares."""
    return log_wealth(((b_SP <= BUDGET) * 1.0 - (a_SP <= BUDGET) + 1) / 2, (true + 1) / 2)


def time_wealth(a_SP: Floats, b_SP: Floats, true: float) -> Floats:
    """(S, P) log wealth against a true difference of restricted mean times."""
    difference_SP = (np.minimum(b_SP, BUDGET) - np.minimum(a_SP, BUDGET)) / BUDGET
    return log_wealth((difference_SP + 1) / 2, (true / BUDGET + 1) / 2)


def sign_wealth(difference_SP: Floats) -> Floats:
    """(S, P) log wealth of bets on signs, against none being more likely."""
    is_above_SP: Bools = difference_SP > 0
    count_P = np.arange(1, difference_SP.shape[1] + 1)
    return log_sign_wealth(np.cumsum(is_above_SP, axis=1), np.broadcast_to(count_P, difference_SP.shape))


def peeked(a_SP: Floats, b_SP: Floats) -> float:
    """Share of comparisons in which the interval for a fixed number ever left 0 out, looking after every tenth pair."""
    looks = [share_intervals(a_SP[:, :num], b_SP[:, :num]) for num in range(10, a_SP.shape[1] + 1, 10)]
    return float(np.mean(np.any([(low > 0) | (high < 0) for low, high in looks], axis=0)))


def planned_pairs(planted: Planted) -> dict[str, int]:
    """The pairs that the formulas ask for, given the population."""
    a_P, b_P = (times[0] for times in planted.times(1, _MANY, seed=1))
    shares, means = planted.shares(), planted.mean_steps()
    discordant = float(np.mean((a_P <= BUDGET) != (b_P <= BUDGET)))
    restricted_P = np.minimum(b_P, BUDGET) - np.minimum(a_P, BUDGET)
    pairs = {
        "converged": pairs_for_share(shares[1] - shares[0], discordant),
        "time": pairs_for_mean(means[1] - means[0], restricted_P),
        "final value": pairs_for_shift(planted.shift, np.log(b_P / a_P)[:2000]),
    }
    return {name: int(np.ceil(found)) for name, found in pairs.items()}


def power(planted: Planted, num_comparisons: int, seed: int) -> dict[str, tuple[int, float]]:
    """Metric -> the pairs that the formula asks for, and the share of comparisons of so many that find the effect."""
    tests = {"converged": share_intervals, "time": mean_intervals, "final value": value_intervals}
    found = {}
    for name, num_pairs in planned_pairs(planted).items():
        found[name] = num_pairs, refuses(tests[name](*planted.times(num_comparisons, num_pairs, seed)))
    return found


def value_intervals(a_SP: Floats, b_SP: Floats) -> tuple[Floats, Floats]:
    """(S,) ends of Wilcoxon's interval for the shift of log times, which stand for final values."""
    _, low_S, high_S = hodges_lehmann(np.log(b_SP / a_SP))
    return low_S, high_S


def rows(num: int) -> Iterator[tuple[str, str, str, str]]:
    """What is promised, of which metric, at how many pairs, and what came of it in `num` comparisons."""
    for shift in (0.0, 0.25):
        planted = Planted(shift)
        share, steps = (after - before for before, after in (planted.shares(), planted.mean_steps()))
        told = "no effect" if not shift else f"effect: {share:+.2f} share, {steps:+.0f} steps, {shift} in value"
        for num_pairs in (20, 60, 200):
            times = planted.times(num, num_pairs, seed=2)
            yield (
                f"coverage, fixed n; {told}",
                "converged",
                str(num_pairs),
                _share(covers(share_intervals(*times), share)),
            )
            yield f"coverage, fixed n; {told}", "time", str(num_pairs), _share(covers(mean_intervals(*times), steps))
            yield (
                f"coverage, fixed n; {told}",
                "final value",
                str(num_pairs),
                _share(covers(value_intervals(*times), shift)),
            )
        times = planted.times(num, 500, seed=3)
        wealth = {
            "converged": share_wealth(*times, share), "time": time_wealth(*times, steps),
            "final value": sign_wealth(np.log(times[1] / times[0]) - shift),
        }  # fmt: skip
        for name, of_metric in wealth.items():
            yield f"anytime, wrong at any of 500 looks; {told}", name, "1 to 500", _share(ever_refused(of_metric))
    a_SP, b_SP = Planted(0.0).times(num, 500, seed=3)
    yield "fixed n, wrong at any of 50 looks; no effect", "converged", "10 to 500", _share(peeked(a_SP, b_SP))
    for name, (num_pairs, found) in power(Planted(0.25), num, seed=4).items():
        yield "power at the planned n, fixed n; planned 80%", name, str(num_pairs), _share(found)


def _share(value: float) -> str:
    return f"{value:.1%}"


def main() -> None:
    """Print the table."""
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"| what, in {num:,} comparisons each | metric | pairs | found |\n|---|---|---|---|")
    for row in rows(num):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
