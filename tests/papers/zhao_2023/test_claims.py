"""Claims on Zhao (2023): each holds where its effect is planted, and not on negative controls."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED
from analysis.claims.sweeps import JudgedSweep, Sweeps, UndecidedError
from analysis.figures.figures import specification, to_svg
from analysis.uncertainty.intervals import short
from pipeline.spec.sweep import load_spec
from sweeps.zhao_2023 import evidence
from sweeps.zhao_2023.attention_maps.contrasts import AttentionContrasts
from sweeps.zhao_2023.circuits.evidence import Swaps
from sweeps.zhao_2023.claims import CLAIMS, FIGURES
from sweeps.zhao_2023.failing import NARROW_HEADS, SMALL_MODEL, WIDE_ENOUGH
from sweeps.zhao_2023.figures.learning import SETTINGS
from sweeps.zhao_2023.figures.maps import attention_maps
from sweeps.zhao_2023.paper import PAPER
from tests.figure_texts import overlaps, untitled
from tests.papers.shuffled import assert_holds_only_unshuffled
from tests.papers.zhao_2023.planted import (
    circuits,
    crossed,
    everything,
    head_widths,
    judge,
    model_widths,
    plain,
    planted_history,
    seeds_of,
    setting_a,
)

NAN = np.nan
SWEEPS = Path(__file__).resolve().parents[3] / "sweeps" / "zhao_2023"


# These show every parent, and the spread over runs itself.
EVERY_RUN = {"fate_raster", "fates_of_failing_runs", "attention_maps", "attention_of_single_runs"}
# The claim whose estimate stands in the title of a figure.
TITLES = {
    "phase_change": "converged_runs_change_abruptly",
    "head_order": "previous_token_head_forms_first",
    "attention": "maps_agree_beyond_permuted_positions",
    "early_statistics": "previous_token_score_foretells_the_time",
    "head_widths": "narrower_heads_converge_later",
    "init_and_data": "init_decides_on_the_time",
    "fates": "fate_is_fixed_by_half_of_the_budget",
}


@pytest.fixture(scope="module")
def sweeps():
    return everything()


@pytest.fixture(scope="module")
def judged(sweeps):
    return {claim.name: claim for claim in CLAIMS.judged(sweeps)}


def test_every_claim_holds_where_it_is_planted(judged):
    # That something is near 0 takes more runs than the others.
    few = "previous_token_score_at_init_says_little"
    assert {name: claim.verdict for name, claim in judged.items() if claim.verdict != HOLDS} == {few: UNDECIDED}
    assert judge(few, setting_a=setting_a(400, 12)).verdict == HOLDS
    assert all(claim.evidence.note for claim in judged.values())


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("accuracy_reaches_100_percent", "steps"),
        ("wide_heads_reach_100_percent", "steps"),
        ("pair_tokens_reach_100_percent", "steps"),
        ("converged_runs_change_abruptly", "steps"),
        ("converged_runs_of_b_change_abruptly", "steps"),
        ("converged_runs_of_c_change_abruptly", "steps"),
        ("previous_token_head_forms_first", "steps"),
        ("previous_token_head_forms_first", "metrics"),
        ("converged_runs_of_wide_heads_change_abruptly", "steps"),
        ("converged_runs_of_one_layer_change_abruptly", "steps"),
        ("runs_attend_alike_from_values", "positions"),
        ("runs_of_one_layer_attend_alike", "positions"),
        ("different_models_attend_alike_from_values", "positions"),
        ("maps_agree_beyond_permuted_positions", "positions"),
        ("maps_agree_beyond_unconverged_runs", "positions"),
        ("maps_agree_beyond_unconverged_runs", "runs"),
        ("maps_agree_beyond_init", "positions"),
        ("maps_agree_beyond_matched_loss", "positions"),
        ("early_statistics_foretell_convergence", "metrics"),
        ("early_statistics_tell_more_than_loss", "metrics"),
        ("previous_token_score_foretells_the_time", "metrics"),
        ("narrower_heads_converge_later", "runs"),
        ("init_decides_on_the_time", "runs"),
        ("init_decides_without_its_slowest_seed", "runs"),
        ("siblings_foretell_convergence", "runs"),
        ("fate_is_fixed_by_half_of_the_budget", "runs"),
        ("failure_is_fixed_early_in_small_models", "runs"),
        ("runs_work_under_maps_of_others", "runs"),
        ("previous_token_head_is_half_formed_first", "steps"),
        ("convergence_emerges_with_width", "runs"),
    ],
)
def test_no_claim_holds_on_shuffled_data(sweeps, name, how):
    assert_holds_only_unshuffled(CLAIMS, name, sweeps, how, num_seeds=2)


def test_controls_fail_where_there_is_what_they_deny():
    jumping = planted_history("zhao_2023_setting_c", seeds_of(90), np.linspace(800, 2000, 90))
    spoiled = {**jumping.values, "label_accuracy": np.minimum(jumping.values["label_accuracy"], 0.95)}
    jumping = type(jumping)(jumping.name, jumping.budget, jumping.runs, jumping.ends, jumping.steps_T, spoiled)
    name, others = "unconverged_runs_do_not_change_abruptly", {"setting_a": setting_a(), "setting_b": plain("b", 4)}
    assert judge(name, **others, setting_c=JudgedSweep(jumping)).verdict == DOES_NOT
    assert judge(name, **others).reason == "sweep 'setting_c' is missing"
    leaking = judge("previous_token_score_at_init_says_little", setting_a=setting_a(sign_at_init=0.2))
    assert leaking.verdict == DOES_NOT
    assert leaking.estimate.value < -0.5
    both = judge("data_stream_hardly_decides", crossed=crossed(of_data=0.9))
    assert both.verdict == DOES_NOT


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("first_layer_qk_prefers_the_position_before", {"qk_previous": 0.8}),
        ("second_layer_qk_matches_keys", {"qk_matching": 0.6}),
        ("second_layer_ov_copies_values", {"ov_copying": 0.7}),
        ("first_head_is_needed_at_values", {"ablated_accuracy/values": 0.6}),
        ("first_head_is_not_needed_at_keys", {"ablated_accuracy/keys": 0.8}),
        ("second_head_is_needed", {"ablated_accuracy/layer2": 0.6}),
        ("runs_work_under_maps_of_others", {"maps": 0.8}),
        ("runs_fail_with_first_layers_of_others", {"transplanted": 0.9}),
        ("runs_fail_with_stitched_layers_of_others", {"stitched": 0.9}),
        ("previous_token_head_is_not_completed_first", {"most": 1.0}),
    ],
)
def test_claims_on_circuits_fail_where_runs_have_other_ones(name, changed):
    assert judge(name, circuits=circuits(**changed)).verdict == DOES_NOT


def test_claims_on_sizes_fail_where_convergence_is_gradual_in_width_or_in_each_run():
    gradual = model_widths(share=0.8)
    assert judge("convergence_emerges_with_width", model_widths=gradual).verdict == DOES_NOT
    # In the middle of their jump when the budget ends.
    halfway = model_widths(share=1.0, late=2690.0)
    assert judge("runs_at_the_edge_succeed_or_fail", model_widths=halfway).verdict == DOES_NOT


def test_what_runs_exchange_is_between_converged_runs_alone():
    with_stuck, without = (Swaps.of(Sweeps({"circuits": circuits(num_stuck=n)}), "maps").mean() for n in (30, 0))
    assert with_stuck.value == pytest.approx(without.value, abs=0.002)
    assert with_stuck.value > 0.95


def test_curves_with_the_jump_left_in_are_not_smooth(monkeypatch):
    monkeypatch.setattr(evidence, "smooth_changes", evidence.phase_changes)
    assert judge("smooth_curves_do_not_change_abruptly", setting_a=setting_a()).verdict == DOES_NOT


def test_runs_that_never_jump_are_never_said_to_converge_later():
    stuck = judge("unconverged_runs_converge_by_a_larger_budget", setting_a=setting_a(20, 60))
    assert stuck.verdict == DOES_NOT
    never = head_widths(stuck=0.0)
    silent = {**never.history.values, "label_accuracy": np.minimum(never.history.values["label_accuracy"], 0.9)}
    history = never.history
    history = type(history)("h", history.budget, history.runs, history.ends, history.steps_T, silent)
    assert judge("unconverged_runs_converge_in_the_end", head_widths=JudgedSweep(history)).verdict == DOES_NOT


def test_an_init_that_decides_by_one_slow_seed_alone_does_not_without_it():
    one = crossed(of_init=0.0, of_slowest=0.9)
    assert judge("init_decides_on_the_time", crossed=one).estimate.value > 0.9
    assert judge("init_decides_without_its_slowest_seed", crossed=one).verdict == DOES_NOT


def test_one_wrong_answer_in_the_last_evaluations_is_not_100_percent():
    sweep = plain("full_width", 40)
    accuracy = sweep.history.values["label_accuracy"].copy()
    accuracy[:20, -1] = 511 / 512
    history = sweep.history
    values = {**history.values, "label_accuracy": accuracy}
    history = type(history)("h", history.budget, history.runs, history.ends, history.steps_T, values)
    found = judge("wide_heads_reach_100_percent", full_width=JudgedSweep(history))
    assert (found.verdict, found.estimate.value) == (DOES_NOT, 0.5)
    assert "0.049% are wrong" in found.evidence.note
    capped = {**history.values, "label_accuracy": np.minimum(accuracy, 0.98)}
    history = type(history)("h", history.budget, history.runs, history.ends, history.steps_T, capped)
    assert judge("wide_heads_converge", full_width=JudgedSweep(history)).verdict == DOES_NOT


def test_maps_at_the_plateau_are_those_before_the_jump():
    sweep = setting_a(40, 4)
    found = AttentionContrasts(sweep)
    step_R = found.step_at_plateau_R()
    assert np.isnan(step_R[40:]).all()
    assert np.isfinite(step_R[:40]).mean() > 0.9
    jump_R = np.array([sweep.snapshots.jump[run.run_id] for run in sweep.history.runs])
    assert np.all(step_R[:40][np.isfinite(step_R[:40])] < jump_R[:40][np.isfinite(step_R[:40])])
    assert "layer 2, last query" in found.of_init().note("step 0")


def test_the_fast_profile_decides_on_accuracy_phase_change_and_heads(sweeps):
    fast = {sweep.name for sweep in PAPER.of_profile("fast")}
    found = {claim.name: claim for claim in CLAIMS.judged(Sweeps({name: sweeps[name] for name in fast}))}
    for name in ("accuracy_reaches_100_percent", "converged_runs_change_abruptly", "previous_token_head_forms_first"):
        assert found[name].verdict == HOLDS
    assert found["fate_is_fixed_by_half_of_the_budget"].verdict == UNDECIDED
    assert "forks" in found["fate_is_fixed_by_half_of_the_budget"].reason


def test_every_figure_is_drawn_and_every_claim_names_one(sweeps, judged):
    drawn = {figure.__name__: figure(sweeps) for figure in FIGURES}
    assert {found.name for found in drawn.values()} == set(drawn)
    assert {claim.figure for claim in CLAIMS.claims.values()} <= set(drawn)
    for name, figure in drawn.items():
        text = specification(figure)
        assert not untitled(json.loads(text)), figure.name
        assert not overlaps(to_svg(figure)), figure.name
        lines = " ".join(json.loads(text)["title"]["subtitle"])
        assert any(sweep in lines for sweep in sweeps), "a figure names its sweep"
        assert name in EVERY_RUN or '"low"' in text or "95% intervals" in lines, "a figure shows intervals"
    for name, claim in TITLES.items():
        estimate = judged[claim].estimate
        assert {estimate.concise(), estimate.text(0)} & set(re.findall(r"\S+ \([^)]*\)", drawn[name].title)), name
    shares = {name: evidence.share_converged(sweeps, sweep=name).estimate for name in SETTINGS}
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    assert drawn["learning_curves"].title == (
        f"From {short(shares[least])} of the runs of {least} to {short(shares[most])} of those of {most} converge"
    )


def test_the_sweeps_are_the_settings_that_are_claimed():
    specs = {path.stem: load_spec(path) for path in SWEEPS.glob("*.yaml")}
    assert set(specs) == {sweep.name for sweep in PAPER.sweeps}
    assert all(spec.name == f"zhao_2023_{name}" for name, spec in specs.items())
    sizes = {"setting_a": (8, 8, 8, 16, 4), "setting_b": (16, 16, 12, 24, 4), "setting_c": (8, 8, 8, 16, 2)}
    for name, expected in sizes.items():
        task, model = specs[name].task, specs[name].model
        assert (task.num_keys, task.num_values, task.num_pairs, model.width, model.head_width) == expected
    for spec in (spec for spec in specs.values() if spec.fork is None):
        optimiser = spec.optimiser
        assert (spec.batch_size, optimiser.beta1, optimiser.beta2, optimiser.clip) == (64, 0.9, 0.98, 1.0)
    assert len(specs["setting_a"].runs()) >= 200
    pairs = specs["crossed"].seeds.crossed
    assert len(pairs.init_seed.values()) >= 16
    assert len(pairs.data_seed.values()) >= 12
    assert len(specs["forks"].fork.data_seed.values()) >= 20
    for forks, parents in (("forks", "fork_parents"), ("failing_forks", "failing_parents")):
        assert set(specs[forks].fork.steps) - {0} <= set(specs[parents].snapshots.states)
        assert specs[forks].budget == specs[parents].budget
    found = [
        {path: getattr(run.model, path.removeprefix("model.")) for path in WIDE_ENOUGH.hyperparameters}
        for run in specs["failing_parents"].runs()
    ]
    for setting in (WIDE_ENOUGH, NARROW_HEADS, SMALL_MODEL):
        assert found.count(setting.hyperparameters) == 20


def test_the_maps_that_are_drawn_are_those_of_converged_runs_and_vary_where_the_task_leaves_them_open(sweeps):
    shown = attention_maps(sweeps)
    assert shown.title == (
        "Between runs, layer 1 varies by .00 where values look back, and by .13 where the task leaves it open"
    )
    assert "The 40 runs that converged" in " ".join(shown.chart.to_dict()["title"]["subtitle"])
    with pytest.raises(UndecidedError, match="fewer than two runs"):
        attention_maps(Sweeps({"setting_a_again": plain("setting_a_again", 1, 4, with_maps=True)}))
