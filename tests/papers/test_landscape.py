"""Claims on the landscape of an initialisation: judged rightly on planted factorials, and what is refused."""

import numpy as np
import pytest

from analysis.claims.claims import DOES_NOT, HOLDS
from analysis.claims.sweeps import JudgedSweep, Sweeps, UndecidedError
from pipeline.spec.sweep import load_spec
from pipeline.store.history import History, RunEnd, RunInfo
from sweeps.landscape import figures
from sweeps.landscape.claims import CLAIMS
from sweeps.landscape.details import details
from sweeps.landscape.measures import factorial, factorials
from sweeps.landscape.study import GROUPS, MATRICES, PAIRS, STUDY

STEPS = np.arange(0, 5401, 50)
NAN = np.nan
G = len(GROUPS)
ALONE = {(g,): 0.2 for g in range(G)}
TOGETHER = {(0, 2, 4): 0.3, (1, 3, 5, 6): 0.3, (0, 6): 0.2, (2, 4): 0.2}


def history_of(pair, coefficients, noise=0.03, seed=0):
    """Runs of every combination under two data streams, whose log times have these coefficients."""
    rng, runs, time_R = np.random.default_rng(seed), [], []
    for place in range(2**G):
        levels = [1 - 2 * (place >> g & 1) for g in range(G)]
        drawn = {
            f"streams.init/{name}": pair.fast if level > 0 else pair.slow
            for level, names in zip(levels, GROUPS.values(), strict=True)
            for name in names
        }
        effect = -sum(value * np.prod([levels[g] for g in inside]) for inside, value in coefficients.items())
        for data_seed in (100, 101):
            runs.append(RunInfo(f"r{len(runs)}", f"s{place}", 0, data_seed, drawn))
            time_R.append(1200 * np.exp(effect + noise * rng.standard_normal()))
    accuracy = np.where(np.array(time_R)[:, None] <= STEPS, 1.0, 0.4)
    accuracy[:, 0] = NAN
    ends = tuple(RunEnd("budget", 5400) for _ in runs)
    return History(pair.name, 5400, tuple(runs), ends, STEPS, {"label_accuracy": accuracy})


def sweeps_of(coefficients, noise=0.03):
    found = {
        pair.name: JudgedSweep(history_of(pair, coefficients, noise, seed), None, {"sweep_id": "abc"})
        for seed, pair in enumerate(PAIRS)
    }
    return Sweeps(found)


def verdicts(sweeps):
    return {claim.name: claim.verdict for claim in CLAIMS.judged(sweeps)}


def test_where_combinations_are_planted_every_claim_holds():
    assert set(verdicts(sweeps_of(TOGETHER)).values()) == {HOLDS}


def test_where_every_factor_acts_alone_the_claims_on_interactions_do_not_hold():
    found = verdicts(sweeps_of(ALONE))
    assert found == {
        "combinations_decide": HOLDS,
        "main_effects_are_a_minor_part": DOES_NOT,
        "pairs_of_matrices_do_not_suffice": DOES_NOT,
        "no_group_decides_alone": HOLDS,
    }
    assert verdicts(sweeps_of({(3,): 0.4, (0, 1): 0.1}))["no_group_decides_alone"] == DOES_NOT


def test_where_data_streams_decide_the_combination_does_not():
    assert verdicts(sweeps_of({(0, 1): 0.02}, noise=0.3))["combinations_decide"] == DOES_NOT


def test_late_runs_count_with_the_budget_or_twice_that():
    history = history_of(PAIRS[0], {(0,): 1.4, (1,): 0.4})
    in_log, doubled, ranks = (factorial(history, PAIRS[0], scale) for scale in ("log", "log, late doubled", "ranks"))
    assert in_log.num_late == doubled.num_late == ranks.num_late > 0
    is_late = in_log.values_DC >= np.log(5400)
    assert is_late.sum() == in_log.num_late
    assert doubled.values_DC[is_late] == pytest.approx(np.log(10800))
    assert np.array_equal(doubled.values_DC[~is_late], in_log.values_DC[~is_late])
    assert np.ptp(ranks.values_DC[is_late]) == 0
    assert ranks.values_DC.mean() == pytest.approx(0.5, abs=0.01)
    assert np.all(ranks.values_DC[is_late] > ranks.values_DC[~is_late].max())


def test_the_fast_parent_is_the_first_combination_and_the_slow_one_the_last():
    found = factorial(history_of(PAIRS[0], ALONE, noise=0.0), PAIRS[0])
    assert found.factors == tuple(GROUPS)
    assert np.argmin(found.values_DC[0]) == 0
    assert np.argmax(found.values_DC[0]) == 2**G - 1
    assert np.exp(found.values_DC[0, 1]) == pytest.approx(1200 * np.exp(-1.0), rel=0.1)


def test_a_factorial_with_holes_is_undecided():
    history = history_of(PAIRS[0], ALONE)
    fewer = History(
        "cut",
        5400,
        history.runs[:-1],
        history.ends[:-1],
        STEPS,
        {"label_accuracy": history.values["label_accuracy"][:-1]},
    )
    with pytest.raises(UndecidedError, match="1 combinations were not trained"):
        factorial(fewer, PAIRS[0])
    with pytest.raises(UndecidedError, match="no factorial is there"):
        factorials(Sweeps({}))


def test_figures_are_drawn_and_details_have_every_scale():
    sweeps = sweeps_of(TOGETHER)
    assert [figure(sweeps).chart is None for figure in (figures.spectrum, figures.combinations)] == [False, False]
    found = details(sweeps)
    assert found["log"]["pair_1"]["by order"][2][0] == pytest.approx(0.09 / 0.26, abs=0.05)
    assert found["correlation of coefficients between pairs"]["pair_1, pair_2"]["order 2 and above"] > 0.9


@pytest.mark.parametrize("profile", ["fast", "full"])
def test_the_sweeps_of_both_profiles_are_whole_factorials(profile):
    screening, *pairs = STUDY.of_profile(profile)
    assert len(load_spec(screening.path, screening.overrides(profile) or ()).runs()) == 96
    factors = G if profile == "fast" else len(MATRICES)
    for sweep in pairs:
        spec = load_spec(sweep.path, sweep.overrides(profile) or ())
        assert len(spec.runs()) == 2 * 2**factors
        assert spec.name == f"landscape_{sweep.name}"
