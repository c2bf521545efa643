"""Claims on factorials between two parents: judged rightly on planted sweeps, and what is refused."""

import itertools

import numpy as np
import pytest

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED
from analysis.claims.sweeps import Sweeps, UndecidedError
from pipeline.store.history import History
from sweeps.landscape.claims import CLAIMS
from sweeps.landscape.measures import factorial, factorials
from sweeps.landscape.study import (
    CHOSEN,
    GROUPS,
    ORDINARY,
    PAIRS,
    SINGLE_MATRICES,
)
from tests.papers.landscape.planted import (
    ALONE,
    STEPS,
    TOGETHER,
    G,
    by_matrix,
    history_of,
    judged_sweeps,
    sweeps_of,
    verdicts,
)

OF_CHOSEN = (
    "combinations_decide",
    "main_effects_are_a_minor_part",
    "pairs_of_matrices_do_not_suffice",
    "no_group_decides_alone",
)


def test_where_combinations_are_planted_every_claim_holds():
    assert verdicts(sweeps_of(TOGETHER)) == dict.fromkeys(OF_CHOSEN, HOLDS)


def test_where_every_factor_acts_alone_the_claims_on_interactions_do_not_hold():
    found = verdicts(sweeps_of(ALONE))
    assert found == dict(zip(OF_CHOSEN, (HOLDS, DOES_NOT, DOES_NOT, HOLDS), strict=True))
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


def test_single_matrices_are_judged_by_their_own_factorial():
    names = list(SINGLE_MATRICES)
    query_key = (names.index("layer0.query"), names.index("layer0.key"))
    value_output = (names.index("layer0.value"), names.index("layer0.output"))
    multiplied = {query_key: 0.3, value_output: 0.3, (0, *query_key): 0.3, (9, *value_output): 0.2}
    found = verdicts(by_matrix(multiplied))
    assert found == {
        "combinations_of_single_matrices_decide": HOLDS,
        "single_matrices_are_a_minor_part": HOLDS,
        "pairs_of_single_matrices_do_not_suffice": HOLDS,
        "few_coefficients_suffice": HOLDS,
        "multiplied_matrices_interact_more": HOLDS,
    }
    rng = np.random.default_rng(0)
    dense = dict.fromkeys(itertools.combinations(range(10), 4), 0.05) | {(g,): 0.5 for g in range(3)}
    dense |= {tuple(sorted(rng.choice(10, 3, replace=False))): 0.04 for _ in range(80)}
    found = verdicts(by_matrix(dense))
    assert found["multiplied_matrices_interact_more"] == DOES_NOT
    assert found["single_matrices_are_a_minor_part"] == UNDECIDED or found["few_coefficients_suffice"] == HOLDS
    assert verdicts(by_matrix({(0, 1): 0.02}, noise=0.3))["combinations_of_single_matrices_decide"] == DOES_NOT


def ordinary(main):
    """Pairs that differ in their interactions, and a little in the share of their main effects."""
    histories = []
    for p, pair in enumerate(ORDINARY):
        share = main + 0.01 * (p - 2)
        alone = {(g,): np.sqrt(share * 0.1 / G) for g in range(G)}
        together = {(p % G, (p + 1) % G, (p + 3) % G): np.sqrt((1 - share) * 0.1)}
        histories.append(history_of(pair, alone | together, seed=p))
    return histories


def test_ordinary_pairs_are_the_units_of_their_claims():
    minor, major = (verdicts(judged_sweeps(*ordinary(main))) for main in (0.3, 0.9))
    assert minor == {"main_effects_between_ordinary_parents": HOLDS, "higher_orders_between_ordinary_parents": HOLDS}
    assert major == dict.fromkeys(minor, DOES_NOT)
    claims = {claim.name: claim for claim in CLAIMS.judged(judged_sweeps(*ordinary(0.3)))}
    assert claims["main_effects_between_ordinary_parents"].evidence.num_units == len(ORDINARY)


def test_chosen_parents_are_compared_with_ordinary_ones():
    chosen = [history_of(pair, {(0,): 0.3, (1, 2): 0.1 + 0.02 * p}, seed=p) for p, pair in enumerate(CHOSEN)]
    assert verdicts(judged_sweeps(*chosen, *ordinary(0.3)))["distance_favours_main_effects"] == HOLDS
    contrary = [history_of(pair, {(0,): 0.1, (1, 2): 0.3 + 0.02 * p}, seed=p) for p, pair in enumerate(CHOSEN)]
    assert verdicts(judged_sweeps(*contrary, *ordinary(0.8)))["distance_favours_main_effects"] == DOES_NOT
    fewer = judged_sweeps(*chosen[:2], *ordinary(0.3))
    assert verdicts(fewer, undecided=True)["distance_favours_main_effects"] == UNDECIDED
