"""Claims on the landscape of an initialisation: judged rightly on planted sweeps, what is refused, and the page."""

import itertools
import json

import numpy as np
import pytest
from scipy.special import ndtri

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED
from analysis.claims.registration import NOT_REGISTERED
from analysis.claims.sweeps import JudgedSweep, Sweeps, UndecidedError
from benchmarks.landscape import page
from benchmarks.landscape.tables import TABLES
from pipeline.spec.sweep import load_spec
from pipeline.store.history import History, RunEnd, RunInfo
from sweeps.landscape.claims import CLAIMS, FIGURES
from sweeps.landscape.details import details
from sweeps.landscape.measures import factorial, factorials
from sweeps.landscape.sizes.phase_diagram import phase_diagram
from sweeps.landscape.study import (
    BY_MATRIX,
    CHOSEN,
    FIXED_MATRIX,
    GROUPS,
    LATER,
    MATRICES,
    ORDINARY,
    PAIRS,
    SINGLE_MATRICES,
    STUDY,
)
from sweeps.registered import registration_of, seeds_by_sweep

STEPS = np.arange(0, 5401, 50)
NAN = np.nan
G = len(GROUPS)
ALONE = {(g,): 0.2 for g in range(G)}
TOGETHER = {(0, 2, 4): 0.3, (1, 3, 5, 6): 0.3, (0, 6): 0.2, (2, 4): 0.2}


# Their figures are drawn in tests/papers/test_landscape_parts.py.
PARTS = ("fates", "settings", "adam")


def history_of(pair, coefficients, noise=0.03, seed=0, groups=None):
    """Runs of every combination under two data streams, whose log times have these coefficients."""
    groups = groups or tuple(GROUPS.values())
    level_GC = np.array([[1 - 2 * (place >> g & 1) for place in range(2 ** len(groups))] for g in range(len(groups))])
    log_time_C = -np.sum([value * np.prod(level_GC[list(at)], axis=0) for at, value in coefficients.items()], axis=0)
    runs = []
    for place, level_G in enumerate(level_GC.T):
        drawn = {
            f"streams.init/{name}": pair.first if level > 0 else pair.second
            for level, names in zip(level_G, groups, strict=True)
            for name in names
        }
        drawn.setdefault(f"streams.init/{FIXED_MATRIX}", pair.first)
        runs += [RunInfo(f"r{place}-{seed}", f"s{place}", 0, seed, drawn) for seed in (100, 101)]
    normal_R = np.random.default_rng(seed).standard_normal(len(runs))
    return recorded(pair.name, runs, 1200 * np.exp(np.repeat(log_time_C, 2) + noise * normal_R))


def recorded(name, runs, time_R, budget=5400, chunk=50):
    steps = np.arange(0, budget + 1, chunk)
    accuracy = np.where(np.array(time_R)[:, None] <= steps, 1.0, 0.4)
    accuracy[:, 0] = NAN
    ends = tuple(RunEnd("budget", budget) for _ in runs)
    return History(name, budget, tuple(runs), ends, steps, {"label_accuracy": accuracy})


def judged_sweeps(*histories):
    return Sweeps({history.name: JudgedSweep(history, None, {"sweep_id": "abc"}) for history in histories})


def sweeps_of(coefficients, noise=0.03, pairs=CHOSEN):
    return judged_sweeps(*(history_of(pair, coefficients, noise, seed) for seed, pair in enumerate(pairs)))


def by_matrix(coefficients, noise=0.03):
    return judged_sweeps(history_of(BY_MATRIX, coefficients, noise, groups=tuple((name,) for name in SINGLE_MATRICES)))


def of_sizes(name, settings, time_of, budget, chunk, count=32):
    """Runs of these settings, whose times are `time_of` a setting and a quantile of the normal."""
    normal_S = ndtri((np.arange(count) + 0.5) / count)
    runs = [
        RunInfo(f"{name}-{number}-{seed}", f"s{number}", seed, seed, setting)
        for number, setting in enumerate(settings)
        for seed in range(count)
    ]
    times = [time_of(run.hyperparameters, normal_S[run.init_seed]) for run in runs]
    return recorded(name, runs, times, budget, chunk)


def widths_of(exponent, name="widths", widths=(8, 16, 32, 64), count=96):
    arms = [(width, 3e-3) for width in widths] + [(width, 3e-3 * 16 / width) for width in widths if width != 16]
    settings = [{"model.width": width, "optimiser.lr": rate} for width, rate in arms]
    return of_sizes(
        name,
        settings,
        lambda at, normal: 1200 * np.exp(0.5 * (at["model.width"] / 8) ** exponent * normal),
        5400,
        25,
        count=count,
    )


def rates_of(power, worst=np.inf, name="rates", rates=(5e-4, 1e-3, 2e-3, 5e-3, 2e-2, 5e-2), count=32):
    """Times fall as the rate, the more so the wider the head; at `worst` and above no run converges."""
    settings = [{"optimiser.lr": rate, "model.head_width": width} for width in (2, 4, 8) for rate in rates]

    def time_of(at, normal):
        half = 1.5e-3 * (at["model.head_width"] / 4) ** power
        is_late = at["optimiser.lr"] >= worst
        return 1e9 if is_late else 2700 * np.exp(0.3 * normal) * half / at["optimiser.lr"]

    return of_sizes(name, settings, time_of, 2800, 50, count)


def verdicts(sweeps, undecided=False):
    return {
        claim.name: claim.verdict
        for claim in CLAIMS.judged(sweeps)
        if undecided or claim.verdict != UNDECIDED or claim.evidence is not None
    }


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


def test_spreads_that_fall_with_the_width_are_told_from_those_that_do_not():
    falling, flat = (verdicts(judged_sweeps(widths_of(exponent))) for exponent in (-0.5, 0.0))
    assert set(falling.values()) == {HOLDS}
    assert len(falling) == 3
    assert set(flat.values()) == {DOES_NOT}


def test_fresh_seeds_are_judged_by_themselves_and_shown_with_the_others():
    wider = {exponent: widths_of(exponent, "wider", (16, 32, 64, 128), count=128) for exponent in (-0.5, -0.05)}
    names = ("independent_parts_again", "spread_falls_at_scaled_rates_again")
    assert verdicts(judged_sweeps(wider[-0.5])) == dict.fromkeys(names, HOLDS)
    assert verdicts(judged_sweeps(wider[-0.05])) == dict.fromkeys(names, DOES_NOT)
    low = {power: rates_of(power, name="rates_low", rates=(7e-4, 1.5e-3, 3.2e-3), count=40) for power in (-0.6, -0.1)}
    assert verdicts(judged_sweeps(low[-0.6])) == {"narrow_heads_need_twice_the_rate": HOLDS}
    assert verdicts(judged_sweeps(low[-0.1])) == {"narrow_heads_need_twice_the_rate": DOES_NOT}
    found = details(judged_sweeps(widths_of(-0.5), wider[-0.5], rates_of(-0.5), low[-0.6]))
    assert found["widths"]["one rate"]["runs"] == [96, 224, 224, 224, 128]
    assert found["rates"]["runs"] == {"on the grid": 18 * 32, "about its boundaries": 9 * 40}
    assert found["rates"]["lower boundary"] != found["rates"]["lower boundary by the grid alone"]
    table = TABLES["rates"][1](found["rates"])
    assert "With 360 runs about them, 3 boundaries have intervals ." in table
    assert "these are 936." in table


def test_boundaries_of_rates_are_found_on_both_sides():
    sweeps = judged_sweeps(rates_of(-0.5, worst=2e-2))
    assert verdicts(sweeps) == {"narrow_heads_need_higher_rates": HOLDS, "high_rates_fail": HOLDS}
    found = phase_diagram(sweeps)
    assert found.boundary(4).value == pytest.approx(1.5e-3, rel=0.1)
    assert 5e-3 < found.boundary(4, is_upper=True).value < 2e-2
    contrary = verdicts(judged_sweeps(rates_of(0.5)))
    assert contrary == {"narrow_heads_need_higher_rates": DOES_NOT, "high_rates_fail": DOES_NOT}


def test_figures_are_drawn_and_details_have_every_part():
    histories = [history_of(pair, TOGETHER, seed=seed) for seed, pair in enumerate(PAIRS)]
    sweeps = Sweeps(
        dict(judged_sweeps(*histories, widths_of(-0.5), rates_of(-0.5)))
        | dict(by_matrix({(0, 3): 0.3, (1, 2, 4): 0.2}))
    )
    drawn = {figure.__name__: figure(sweeps) for figure in FIGURES if figure.__module__.split(".")[2] not in PARTS}
    assert all(figure.chart is not None for figure in drawn.values())
    assert {name: figure.name for name, figure in drawn.items()} == {name: name for name in drawn}
    assert {figure.__name__ for figure in FIGURES} >= {claim.figure for claim in CLAIMS.claims.values()}
    found = details(sweeps)
    assert [name for name, part in found.items() if "not there" in part] == [
        *("fates", "all fates", "exchanges", "adam_epsilon")
    ]
    of_pair = found["factorials"]["log"]["pair_1"]
    assert of_pair["by order"][2][0] == pytest.approx(0.09 / 0.26, abs=0.05)
    assert found["correlation of coefficients between chosen pairs"]["pair_1, pair_2"]["order 2 and above"] > 0.9
    assert found["matrices"]["largest coefficients"][0]["factors"] == ["embedding", MATRICES[3]]
    own_tables = [at for at in TABLES.items() if at[0] in ("pairs", "coefficients", "widths", "rates")]
    tables = {name: table(json.loads(json.dumps(found[part]))) for name, (part, table) in own_tables}
    assert tables["coefficients"].splitlines()[2].startswith("| embedding, 1 key | 2 | -.")
    assert tables["pairs"].count("| 17 and 27 |") == 2
    assert len(tables["widths"].splitlines()) == 2 + 8 + 2
    assert len(tables["rates"].splitlines()) == 2 + 3 + 2
    assert tables["rates"].endswith("576 runs on the grid.\n")
    assert [design["runs of a pair"] for design in found["designs"]] == [256, 64, 32, 16]


def test_parts_that_were_not_trained_are_said_to_be_missing():
    found = details(sweeps_of(TOGETHER))
    assert {name for name, part in found.items() if "not there" in part} == {
        "matrices",
        "population",
        "widths",
        "rates",
        "fates",
        "all fates",
        "exchanges",
        "settings",
        "designs",
        "adam_epsilon",
    }


def test_the_fast_profile_is_the_beginning_of_the_full_one():
    fast = {sweep.name: sweep for sweep in STUDY.of_profile("fast")}
    full = {sweep.name: sweep for sweep in STUDY.of_profile("full")}
    assert set(fast) == {"screening", *(pair.name for pair in CHOSEN + ORDINARY), "widths"}
    assert all(sweep.overrides("fast") == sweep.overrides("full") for sweep in fast.values())
    # One of each kind; the registered seeds are of all.
    for pair in (CHOSEN[0], ORDINARY[0], LATER[0]):
        spec = load_spec(full[pair.name].path, full[pair.name].overrides("full"))
        assert len(spec.expanded_settings) == 2**G
        assert spec.name == f"landscape_{pair.name}"


def test_parents_of_ordinary_pairs_are_not_those_of_chosen_ones():
    of_ordinary = {seed for pair in ORDINARY for seed in (pair.first, pair.second)}
    assert len(of_ordinary) == 2 * len(ORDINARY)
    assert not of_ordinary & set(range(32))


def test_the_terms_in_the_code_are_those_that_are_registered():
    """Fails where `python -m benchmarks.registration REASON` is left to be run."""
    registration = registration_of(STUDY)
    found = {claim.name for claim in CLAIMS.claims.values() if registration.status(claim) == NOT_REGISTERED}
    assert found == set()
    registered = registration.in_force("sweeps")
    assert registered == seeds_by_sweep(STUDY)
    assert registered["pair_4"]["streams"]["init/embedding"] == [40, 41]
    assert registered["matrices"]["streams"] == {
        f"init/{name}": [17] if name == FIXED_MATRIX else [17, 27] for name in MATRICES
    }
    (matrices,) = (sweep for sweep in STUDY.sweeps if sweep.name == BY_MATRIX.name)
    assert matrices.full[1].count("{") == len(SINGLE_MATRICES)


def test_the_page_is_made_from_what_is_kept(tmp_path, monkeypatch):
    copy = tmp_path / "landscape.md"
    copy.write_text(page.PAGE.read_text())
    monkeypatch.setattr(page, "PAGE", copy)
    page.refresh()
    assert copy.read_text() == (page.FOLDER.parents[1] / "docs" / "landscape.md").read_text()
