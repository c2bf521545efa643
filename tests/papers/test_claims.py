"""Claims: verdicts from tables, what is missing is never dropped, and nothing holds on shuffled data."""

from __future__ import annotations

import doctest
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from analysis.claims import claims as module
from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED, Claim, ClaimBook, Evidence, Region, judge
from analysis.claims.records import claims_json, write_claims
from analysis.claims.sweeps import JudgedSweep, MissingSweepError, Sweeps, UndecidedError
from analysis.claims.text import claims_markdown, claims_table
from analysis.dynamics.attention import permuted_positions, read_maps, similarity
from analysis.dynamics.phases import find_phase_changes
from analysis.dynamics.seed_variance import seed_variance
from analysis.dynamics.similarity_contrasts import contrast
from analysis.dynamics.stages import crossed_for_good, stage_order
from analysis.figures.claims import finding
from analysis.outcomes.outcomes import CONVERGED, decide_outcomes
from analysis.uncertainty.intervals import Estimate, wilson
from analysis.uncertainty.resampling import Units, independent_units
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History, RunEnd, RunInfo
from tests.papers.negative_controls import shuffled
from tests.papers.shuffled import assert_holds_only_unshuffled, judged_on_shuffled

STEPS = np.arange(0, 2001, 50)
NAN = np.nan


@pytest.mark.parametrize(
    ("interval", "region", "verdict"),
    [
        ((0.8, 0.7, 0.9), Region(low=0.5), HOLDS),
        ((0.8, 0.5, 0.9), Region(low=0.5), HOLDS),
        ((0.8, 0.4, 0.9), Region(low=0.5), UNDECIDED),
        ((0.3, 0.2, 0.49), Region(low=0.5), DOES_NOT),
        ((0.3, 0.2, 0.5), Region(low=0.5), UNDECIDED),
        ((0.3, 0.2, 0.4), Region(high=0.5), HOLDS),
        ((0.7, 0.6, 0.8), Region(high=0.5), DOES_NOT),
        ((1.9, 1.8, 2.1), Region(1.7, 2.3), HOLDS),
        ((1.9, 1.0, 3.0), Region(1.7, 2.3), UNDECIDED),
        ((0.8, NAN, NAN), Region(low=0.5), UNDECIDED),
        ((NAN, NAN, NAN), Region(low=0.5), UNDECIDED),
        ((NAN, 0.7, 0.9), Region(low=0.5), UNDECIDED),
    ],
)
def test_the_verdict_is_that_of_the_whole_interval(interval, region, verdict):
    found, reason = judge(Evidence(*interval, 50), region, 10)
    assert found == verdict
    assert bool(reason) == (verdict == UNDECIDED)


def test_too_few_runs_leave_even_a_clear_figure_undecided():
    assert judge(Evidence(0.9, 0.8, 1, 9), Region(low=0.5), 10) == (UNDECIDED, "9 run(s), needs 10")
    assert judge(Evidence(0.9, 0.8, 1, 10), Region(low=0.5), 10)[0] == HOLDS


def test_the_examples_of_the_judge_are_true():
    found = doctest.testmod(module)
    assert found.attempted >= 4
    assert found.failed == 0


def planted_sweep(num_init=6, num_data=5):
    """Crossed seeds; init sets the step of a jump; attention sharpens 150 steps before; a head looks one back."""
    rng = np.random.default_rng(0)
    runs, excess, score = [], [], []
    for init in range(num_init):
        for data in range(num_data):
            runs.append(RunInfo(f"r{init}-{data}", "s", init, data, {"optimiser.lr": 0.01}))
            centre = 500 + 150 * init + 15 * rng.normal()
            excess.append(1 / (1 + np.exp((STEPS - centre) / 20)) + 0.003 * rng.normal(size=len(STEPS)))
            score.append(1 / (1 + np.exp(-(STEPS - centre + 250) / 20)) + 0.01 * rng.normal(size=len(STEPS)))
    ends = tuple(RunEnd("budget", 2000) for _ in runs)
    values = {"label_excess": np.array(excess), "score": np.array(score)}
    history = History("planted", 2000, tuple(runs), ends, STEPS, values)
    return JudgedSweep(history, PlantedMaps(), {"sweep_id": "abc"})


class PlantedMaps:
    """Every run attends to the previous token, with noise of its own."""

    def of(self, run_id, kind="state"):
        return {2000: None} if kind == "attention" else {}

    def read(self, run_id, step, kind="state"):
        rng = np.random.default_rng(zlib.crc32(run_id.encode()))
        weight = np.exp(4 * np.eye(8, k=-1) + 0.5 * rng.normal(size=(2, 1, 8, 8))) * np.tril(np.ones((8, 8)))
        return {"layer0": weight / weight.sum(axis=-1, keepdims=True)}


def excess_jumps(sweeps):
    history = sweeps["planted"].history
    found = find_phase_changes(history.values["label_excess"], history.steps_T, chance=1, floor=0)
    return Evidence.of(wilson(int(found.is_abrupt_R.sum()), len(history.runs)), history.runs)


def score_comes_first(sweeps):
    history = sweeps["planted"].history
    score = crossed_for_good(history.values["score"], history.steps_T, Criterion(at_least=0.5))
    excess = crossed_for_good(history.values["label_excess"], history.steps_T, Criterion(at_most=0.5))
    order = stage_order(score.upper_R, excess.upper_R, history.runs)
    return Evidence.of(order.first, history.runs, "Ties do not count for it.", num_runs=order.num_runs)


def init_decides(sweeps):
    history = sweeps["planted"].history
    found = seed_variance(decide_outcomes(history), history.runs, history.budget)
    return Evidence.of(found.init, history.runs)


def maps_are_alike(sweeps):
    sweep = sweeps["planted"]
    runs = sweep.history.runs
    maps = read_maps(sweep.snapshots, [run.run_id for run in runs], np.full(len(runs), 2000))
    converged = decide_outcomes(sweep.history).is_kind_R(CONVERGED)
    found = contrast(
        runs, similarity(maps), similarity(maps, permuted_positions(maps, 7)), converged, converged, bootstrap=200
    )
    return Evidence.of(found.difference, runs)


def needs_another(sweeps):
    return Evidence(1, 1, 1, len(sweeps["never_run"].history.runs))


def cannot_tell(sweeps):
    raise UndecidedError("no weights were kept at step 0")


def row(measure, **changes):
    """A claim that is named after its measure."""
    fields = {"statement": "S", "value": "v", "region": Region(low=0.5), "figure": "f"}
    return Claim(measure.__name__, measure=measure, **fields | changes)


BOOK = ClaimBook(
    "Planted",
    [
        row(excess_jumps, statement="Excess falls abruptly", value="yes", region=Region(low=0.8), figure="jumps"),
        row(score_comes_first, statement="The score rises before the excess falls", value="77 of 80", figure="order"),
        row(init_decides, statement="Init decides on the time", value="", figure="variance", stated_by="us"),
        row(maps_are_alike, statement="Converged runs attend alike", region=Region(low=0.3), figure="maps"),
        row(needs_another, statement="Needs a sweep that nobody ran", value="1.93", region=Region(low=0)),
        row(cannot_tell, statement="Cannot be told from what was recorded"),
    ],
)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("excess_jumps", "steps"),
        ("score_comes_first", "steps"),
        ("init_decides", "runs"),
        ("init_decides", "metrics"),
        ("maps_are_alike", "positions"),
    ],
)
def test_claims_that_hold_fail_on_shuffled_data(name, how):
    assert_holds_only_unshuffled(BOOK, name, Sweeps({"planted": planted_sweep()}), how)


def test_the_check_on_shuffled_data_itself_catches_a_claim_that_always_holds():
    def there_are_runs(sweeps):
        return Evidence(1, 1, 1, len(sweeps["planted"].history.runs))

    book = ClaimBook("P", [row(there_are_runs)])
    with pytest.raises(AssertionError, match="holds on data shuffled by steps"):
        assert_holds_only_unshuffled(book, "there_are_runs", Sweeps({"planted": planted_sweep()}), "steps")
    assert len(judged_on_shuffled(book, "there_are_runs", Sweeps({"planted": planted_sweep()}), "runs")) == 3


def test_what_is_missing_is_undecided_with_its_reason_and_never_dropped():
    judged = {claim.name: claim for claim in BOOK.judged(Sweeps({"planted": planted_sweep()}))}
    assert list(judged) == list(BOOK.claims)
    assert [claim.verdict for claim in judged.values()] == [HOLDS] * 4 + [UNDECIDED] * 2
    assert judged["needs_another"].reason == "sweep 'never_run' is missing"
    assert judged["cannot_tell"].reason == "no weights were kept at step 0"
    assert (judged["cannot_tell"].num_runs, judged["cannot_tell"].evidence) == (0, None)
    few = BOOK.judged_claim("excess_jumps", Sweeps({"planted": planted_sweep(3, 2)}))
    assert (few.verdict, few.reason) == (UNDECIDED, "6 run(s), needs 10")


def test_mistakes_in_a_claim_are_not_taken_for_undecided():
    def broken(sweeps):
        return {}["mistyped"]

    with pytest.raises(KeyError, match="mistyped"):
        ClaimBook("P", [row(broken)]).judged(Sweeps({}))


def test_folders_are_read_when_asked_for_and_those_without_a_sweep_are_missing(tmp_path):
    sweeps = Sweeps({"gone": tmp_path / "gone", "planted": planted_sweep()})
    assert list(sweeps) == ["gone", "planted"]
    assert (sweeps.has("gone"), sweeps.has("planted"), sweeps.has("unheard_of")) == (False, True, False)
    with pytest.raises(MissingSweepError, match="gone holds none"):
        sweeps["gone"]
    assert "gone" not in shuffled(sweeps, "runs")


def test_a_row_has_all_that_is_fixed_beforehand_and_a_name_of_its_own():
    whole = row(cannot_tell)
    with pytest.raises(ValueError, match="two claims are named 'cannot_tell'"):
        ClaimBook("P", [whole, row(cannot_tell, statement="Another")])
    for field in ("name", "statement", "figure", "value"):
        with pytest.raises(ValueError, match=f"claim .* has no {field}"):
            replace(whole, **{field: " "})
    for field in ("least_runs", "version"):
        with pytest.raises(ValueError, match="least_runs and version of 1 or more"):
            replace(whole, **{field: 0})


def test_a_row_says_who_states_it():
    assert row(cannot_tell, value="1.93").stated == "1.93"
    assert row(cannot_tell, value="", stated_by="us").stated == "not in the paper"
    assert row(cannot_tell, value="1.93 by ours", stated_by="us").stated == "not in the paper; 1.93 by ours"


def test_a_region_says_in_words_what_it_takes_and_is_never_everything():
    assert [str(r) for r in (Region(low=0.5), Region(high=2), Region(1.7, 2.3))] == [
        "at least 0.5",
        "at most 2",
        "1.7 to 2.3",
    ]
    for bounds in ((), (2, 1), (NAN, 1)):
        with pytest.raises(ValueError, match="region"):
            Region(*bounds)


def test_the_table_shows_every_claim_within_its_width():
    claims = BOOK.judged(Sweeps({"planted": planted_sweep()}))
    lines = claims_table(claims)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 100
    assert lines[-1] == "6 claim(s), of 6 statement(s): 4 holds, 0 does not, 2 undecided."
    assert "Planted" in lines
    assert "Excess falls abruptly" in text
    assert "sweep 'never_run'" in text
    assert claims_table([]) == ["0 claim(s), of 0 statement(s): 0 holds, 0 does not, 0 undecided."]


def test_the_table_in_markdown_has_a_row_for_every_claim():
    text = claims_markdown(BOOK.judged(Sweeps({"planted": planted_sweep()})))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [line for line in text.splitlines() if line.startswith("**")] == ["**Planted**"]
    assert len(rows) == 2 + len(BOOK.claims)
    assert {row.count("|") for row in rows} == {10}
    assert rows[2].startswith("| Excess falls abruptly | yes | 1.00 (")
    assert "| 5 data seeds, crossed with 6 init seeds | holds | " in rows[2]
    assert "| Init decides on the time | not in the paper | " in text
    assert "| 0 runs | undecided: no weights were kept at step 0 | " in text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.20662, 0.2061, 0.2069), ".2066 (.2061-.2069)"),
        (Estimate(0.82, 0.76, 0.87), ".82 (.76-.87)"),
        (Estimate(300.0, 100.0, 600.0), "300 (100-600)"),
        (Estimate(3e-7, 1e-7, 3e-7), "3.0e-07 (1.0e-07 to 3.0e-07)"),
        (Estimate(1.0, 1.0, 1.0), "1.00 (1.00-1.00)"),
        (Estimate(0.5), ".50 (n/a)"),
        (Estimate(NAN), "n/a"),
    ],
)
def test_an_estimate_has_as_many_digits_as_its_interval_warrants(estimate, text):
    assert estimate.concise() == text


def test_the_file_is_strict_json_with_null_where_undefined(tmp_path):
    claims = BOOK.judged(Sweeps({"planted": planted_sweep()}))
    path = write_claims(claims, tmp_path / "claims.json", {"git_commit": None, "share": np.float64(NAN)})

    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(path.read_text(), parse_constant=refuse)
    assert document == claims_json(claims, {"git_commit": None, "share": None})
    by_name = {claim["name"]: claim for claim in document["claims"]}
    assert by_name["needs_another"]["estimate"] == [None, None, None]
    assert by_name["score_comes_first"]["note"] == "Ties do not count for it."
    assert by_name["excess_jumps"]["holds_if"] == "at least 0.8"
    assert by_name["needs_another"]["holds_if"] is None
    assert (by_name["init_decides"]["stated_by"], by_name["init_decides"]["paper_value"]) == ("us", None)
    assert by_name["excess_jumps"]["verdict"] == HOLDS


def test_evidence_counts_what_is_independent_in_its_runs():
    estimate, crossed = Estimate(0.5, 0.4, 0.6), planted_sweep(6, 5).history.runs
    found = Evidence.of(estimate, crossed, "note")
    assert found == Evidence(0.5, 0.4, 0.6, 30, "note", "data seeds, crossed with 6 init seeds", 5)
    fewer_inits = [RunInfo(f"{i}-{j}", "s", i, j, {}) for i in range(3) for j in range(9)]
    assert independent_units(fewer_inits) == Units(3, "init seeds, crossed with 9 data seeds")
    alone = [RunInfo(f"r{seed}", "s", seed, seed, {}) for seed in range(30)]
    assert Evidence.of(estimate, alone, num_runs=12) == Evidence(0.5, 0.4, 0.6, 12, "", "seeds", 12)


def test_a_title_has_the_estimate_in_it_and_says_what_is_undecided():
    found = Evidence(0.831, 0.78, 0.88, 40)
    assert finding(Sweeps({}), lambda _: found, "A share of {} do", "how many do") == "A share of .83 (.78-.88) do"
    assert finding(Sweeps({}), lambda _: found, "From step {} on", "when", digits=0).startswith("From step 1 (1-1)")

    def lacks(sweeps):
        return sweeps["a"]

    for measure in (lacks, lambda _: Evidence(np.nan, np.nan, np.nan, 40)):
        assert finding(Sweeps({}), measure, "A share of {} do", "how many do") == "Undecided: how many do"
