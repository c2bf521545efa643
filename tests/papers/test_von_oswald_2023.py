"""Claims on von Oswald et al. (2023): each holds where its effect is planted, and not on negative controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED
from analysis.claims.sweeps import Sweeps
from analysis.outcomes.subsets import some_runs
from sweeps.von_oswald_2023 import measures
from sweeps.von_oswald_2023.claims import CLAIMS
from tests.papers import planted_von_oswald as planted
from tests.papers.planted_von_oswald import changed, scaled
from tests.papers.shuffled import assert_holds_only_unshuffled


class Asked(Sweeps):
    """Sweeps that remember which of them were asked for."""

    def __init__(self, sweeps):
        super().__init__(sweeps)
        self.names = {}

    def __getitem__(self, name):
        self.names[name] = None
        return super().__getitem__(name)


@pytest.fixture(scope="module")
def sweeps():
    return planted.everything()


@pytest.fixture(scope="module")
def needed(sweeps):
    """Of every claim, the sweeps that it reads."""
    found = {}
    for name in CLAIMS.claims:
        asked = Asked(sweeps)
        CLAIMS.judged_claim(name, asked)
        found[name] = {sweep: sweeps[sweep] for sweep in asked.names}
    return found


def judge(name, **changed_sweeps):
    return CLAIMS.judged_claim(name, Sweeps(changed_sweeps))


def test_every_claim_holds_where_it_is_planted(sweeps):
    found = CLAIMS.judged(sweeps)
    assert {claim.name: claim.reason for claim in found if claim.verdict != HOLDS} == {}
    assert all(claim.evidence.note for claim in found)


OF_LAYERS = [
    f"{name}_{suffix}"
    for name in planted.LAYERS
    for suffix in (
        "beat_gradient_descent",
        "match_gd_plus_plus",
        "align_with_gd_plus_plus",
        "align_more_with_gd_plus_plus",
    )
]
# Most say what runs are like at the end, which neither other runs nor other metrics of the same sweep can tell.
SHUFFLED = {
    "steps": [
        "one_layer_has_the_loss_of_one_step",
        "one_layer_has_the_loss_of_one_step_in_the_text",
        "most_seeds_reach_one_step",
        "predictions_become_those_of_the_step",
        "models_align",
        "models_coincide",
        "trained_weights_have_the_best_step_size",
        "interpolated_weights_keep_the_loss",
        "longer_contexts_have_the_loss_of_one_step",
        "one_layer_shifts_alike_with_inputs",
        "one_layer_shifts_alike_with_teachers",
        "one_layer_shifts_alike_with_families",
        "one_layer_shifts_alike_with_noise",
        "one_layer_shifts_alike_with_lengths",
        "applied_again_the_layer_descends_again",
        "rolling_out_lowers_the_loss",
        *OF_LAYERS,
        "tied_layers_have_the_curvature_of_gd_plus_plus",
        "two_layers_shift_alike_with_inputs",
        "two_layers_shift_alike_with_teachers",
        "two_layers_shift_alike_with_noise",
        "many_fixed_tasks_suffice",
        "a_block_with_mlp_groks",
        "two_softmax_heads_come_near",
        "two_softmax_heads_align",
        "copying_layers_jump",
        "next_token_dependence_comes_first",
        "copying_takes_a_time_of_its_own",
        "sine_waves_are_learned",
    ],
    "runs": [
        "two_heads_mitigate_plateaus",
        "two_heads_leave_earlier",
        "many_fixed_tasks_suffice",
        "few_fixed_tasks_are_overfitted",
        "two_softmax_heads_come_near",
        "two_softmax_heads_align",
        "one_softmax_head_does_not",
    ],
    "metrics": ["longer_contexts_have_the_loss_of_one_step", "next_token_dependence_comes_first"],
}


@pytest.mark.parametrize(("name", "how"), [(name, how) for how, names in SHUFFLED.items() for name in names])
def test_no_claim_holds_on_shuffled_data(needed, name, how):
    assert_holds_only_unshuffled(CLAIMS, name, Sweeps(needed[name]), how, num_seeds=2)


def spoiled():
    """Claim -> sweeps in which what it states is planted not to be so. Read where a test needs them."""
    one, two = planted.one_layer(), planted.several_layers("two_layers_tied")
    tokens, waves = planted.separate_tokens(), planted.sine()
    is_trained_R1 = np.array([run.hyperparameters["model.attention"] == "trained" for run in waves.history.runs])[
        :, None
    ]
    return {
        "one_layer_has_the_loss_of_one_step": {"one_layer": changed(one, label_loss=lambda v: v + 0.01)},
        "one_layer_has_the_loss_of_one_step_in_the_text": {"text_inputs": changed(one, label_loss=scaled(1.05))},
        "the_construction_is_the_step": {"one_layer": changed(one, construction_difference=scaled(10))},
        "line_search_finds_the_best_step_size": {"one_layer": changed(one, line_search_step_size=scaled(1.03))},
        "trained_weights_have_the_best_step_size": {"one_layer": changed(one, trained_step_size=scaled(0.9))},
        "interpolated_weights_keep_the_loss": {"one_layer": changed(one, interpolated_loss=scaled(1.05))},
        "one_layer_shifts_alike_with_inputs": {"one_layer": changed(one, trained_loss__inputs__2=scaled(1.2))},
        "one_layer_shifts_alike_with_teachers": {"one_layer": changed(one, trained_loss__teachers__5=scaled(0.8))},
        "one_layer_shifts_alike_with_families": {"one_layer": changed(one, trained_loss__laplace__3=scaled(1.2))},
        "one_layer_shifts_alike_with_noise": {"one_layer": changed(one, trained_loss__noisy__8=scaled(0.8))},
        "one_layer_shifts_alike_with_lengths": {"one_layer": changed(one, trained_loss__pairs__40=scaled(1.2))},
        "applied_again_the_layer_descends_again": {"one_layer": changed(one, rolled_trained_loss__20=scaled(1.3))},
        "rolling_out_lowers_the_loss": {"one_layer": changed(one, rolled_trained_loss__50=scaled(2))},
        "two_layers_tied_beat_gradient_descent": {"two_layers_tied": changed(two, gd_loss=scaled(0.7))},
        "two_layers_tied_match_gd_plus_plus": {"two_layers_tied": changed(two, plus_loss=scaled(1.2))},
        "two_layers_tied_align_more_with_gd_plus_plus": {"two_layers_tied": changed(two, plus_cosine=scaled(0.95))},
        "tied_layers_have_the_curvature_of_gd_plus_plus": {
            "two_layers_tied": changed(two, trained_curvature=scaled(0.8))
        },
        "two_layers_shift_alike_with_noise": {"two_layers_tied": changed(two, trained_loss__noisy__2=scaled(1.4))},
        "some_seeds_sit_on_a_plateau": {"heads": planted.heads(300, share_long=0.0)},
        "two_heads_mitigate_plateaus": {"heads": planted.heads(share_long_with_two=0.5)},
        "two_heads_leave_earlier": {"heads": planted.heads(late_with_two=True)},
        "long_plateaus_end_suddenly": {"heads": planted.heads(width_of_long=500.0)},
        "a_block_with_mlp_groks": {"mlp_block": planted.mlp_block(lag=1.2)},
        "copying_layers_reach_one_step": {"separate_tokens": changed(tokens, label_loss=scaled(1.3))},
        "copying_layers_jump": {"separate_tokens": planted.separate_tokens(width=2500.0)},
        "next_token_dependence_comes_first": {"separate_tokens": planted.separate_tokens(lead=-1500)},
        "sine_layers_match_the_gradient_step": {
            "sine": changed(waves, label_loss=lambda v: np.where(is_trained_R1, 2 * v, v))
        },
        "sine_waves_are_learned": {"sine": changed(waves, label_excess=lambda v: np.where(is_trained_R1, v, 0.5 + v))},
    }


SPOILED = spoiled()


@pytest.mark.parametrize("name", SPOILED)
def test_no_claim_holds_where_the_contrary_is_planted(name):
    found = judge(name, **SPOILED[name])
    assert (found.verdict, found.reason) == (DOES_NOT, "")


def test_seeds_without_any_plateau_cannot_tell_whether_two_heads_mitigate_them():
    found = judge("two_heads_mitigate_plateaus", heads=planted.heads(share_long=0.0))
    assert (found.verdict, found.reason) == (UNDECIDED, "no interval")


def test_every_claim_has_a_control():
    assert {*SPOILED, *(name for names in SHUFFLED.values() for name in names)} == set(CLAIMS.claims)


def test_a_model_that_has_its_best_loss_at_another_step_size_is_told_from_one_that_is_near():
    one = planted.one_layer()
    better = judge("one_layer_has_the_loss_of_one_step", one_layer=changed(one, label_loss=lambda v: v - 0.01))
    assert better.verdict == DOES_NOT, "below the closed form is not at it"
    worst = judge("one_layer_shifts_alike_with_noise", one_layer=changed(one, trained_loss__noisy__8=scaled(0.8)))
    assert worst.evidence.note.endswith("they differ most at noisy/8.")
    assert worst.estimate.value == pytest.approx(1.25, rel=0.02), "a ratio below 1 counts as its inverse"


def test_plateaus_of_which_the_median_does_not_end_in_half_of_the_budget_say_nothing():
    late = planted.heads()
    late = changed(late, label_excess=lambda v: np.where(late.history.steps_T < 2600, np.maximum(v, 0.9), v))
    for name in ("some_seeds_sit_on_a_plateau", "two_heads_mitigate_plateaus", "long_plateaus_end_suddenly"):
        found = judge(name, heads=late)
        assert found.verdict == UNDECIDED
        assert "half of the budget" in found.reason
    never = judge("some_seeds_sit_on_a_plateau", heads=changed(late, label_excess=np.ones_like))
    assert never.verdict == UNDECIDED


def test_a_dependence_that_was_always_there_does_not_come_first():
    always = changed(planted.separate_tokens(), next_token_sensitivity=lambda v: np.where(np.isnan(v), v, 1.0))
    found = judge("next_token_dependence_comes_first", separate_tokens=always)
    assert (found.verdict, found.estimate.value) == (DOES_NOT, 0)


def test_copying_is_judged_on_the_runs_that_learn_and_undecided_where_none_does():
    found = judge("copying_layers_jump", separate_tokens=planted.separate_tokens(num_stuck=12))
    assert (found.verdict, found.num_runs) == (HOLDS, 28)
    found = judge("copying_takes_a_time_of_its_own", separate_tokens=planted.separate_tokens(200, 0))
    assert found.estimate.value == pytest.approx((3000 + 0.9 * 15500) / (3000 + 0.1 * 15500), rel=0.1)
    none = planted.separate_tokens(num_stuck=40)
    for name in ("copying_layers_reach_one_step", "copying_layers_jump", "next_token_dependence_comes_first"):
        found = judge(name, separate_tokens=none)
        assert (found.verdict, found.num_runs) == (UNDECIDED, 0)


def test_a_block_that_never_generalises_or_never_learns_is_no_error():
    block = planted.mlp_block()
    never = judge("a_block_with_mlp_groks", mlp_block=changed(block, label_loss=lambda v: np.maximum(v, 0.4)))
    assert never.verdict == UNDECIDED
    assert "halved at step inf and" in never.evidence.note
    nothing = judge("a_block_with_mlp_groks", mlp_block=changed(block, train_loss=lambda v: np.maximum(v, 0.4)))
    assert nothing.verdict == UNDECIDED


@pytest.mark.parametrize("name", CLAIMS.claims)
def test_a_claim_without_a_sweep_that_it_needs_is_undecided_and_says_so(needed, name):
    for sweep in needed[name]:
        found = CLAIMS.judged_claim(name, Sweeps({other: s for other, s in needed[name].items() if other != sweep}))
        assert found.verdict == UNDECIDED
        assert f"sweep {sweep!r} is missing" in found.reason
    assert CLAIMS.judged_claim(name, Sweeps({})).verdict == UNDECIDED


def families(history):
    """Metrics that go together: a shift of all its sizes is one."""
    found = {}
    for metric in history.values:
        found.setdefault(metric.rpartition("/")[0] or metric, []).append(metric)
    return found


# What a note alone says.
NOTED = {
    ("tied_layers_have_the_curvature_of_gd_plus_plus", "plus_curvature"),
    ("a_block_with_mlp_groks", "label_excess"),
}


@pytest.mark.parametrize("name", CLAIMS.claims)
def test_a_claim_without_a_metric_that_it_needs_is_undecided_and_without_a_value_of_it_does_not_hold(needed, name):
    read = []
    for sweep_name, sweep in needed[name].items():
        history = sweep.history
        for family, metrics in families(history).items():
            fewer = {metric: values_RT for metric, values_RT in history.values.items() if metric not in metrics}
            found = judge(name, **needed[name] | {sweep_name: replace(sweep, history=replace(history, values=fewer))})
            assert found.verdict in (HOLDS, UNDECIDED)
            if found.verdict == UNDECIDED:
                assert f"has no {family}" in found.reason
                read.append(family)
                empty = fewer | {metric: np.full_like(history.values[metric], np.nan) for metric in metrics}
                blank = replace(sweep, history=replace(history, values=empty))
                held = judge(name, **needed[name] | {sweep_name: blank}).verdict == HOLDS
                assert held == ((name, family) in NOTED)
    assert read


def test_a_claim_without_the_runs_that_it_contrasts_is_undecided():
    heads = planted.heads()
    one = replace(
        heads, history=some_runs(heads.history, measures.has_hyperparameter_R(heads.history, "model.num_heads", 1))
    )
    found = judge("two_heads_leave_earlier", heads=one)
    assert (found.verdict, found.reason) == (
        UNDECIDED,
        f"sweep {one.history.name!r} has no run with model.num_heads: 2",
    )
    runs = tuple(
        replace(run, init_seed=run.init_seed + 500) if run.hyperparameters["model.num_heads"] == 2 else run
        for run in heads.history.runs
    )
    apart = replace(heads, history=replace(heads.history, runs=runs))
    assert judge("two_heads_leave_earlier", heads=apart).reason.endswith("have no seeds in common")
    num_two = np.cumsum(measures.has_hyperparameter_R(heads.history, "model.num_heads", 2))
    fewer = replace(heads, history=some_runs(heads.history, num_two <= 50))
    for name in ("two_heads_mitigate_plateaus", "two_heads_leave_earlier"):
        assert (judge(name, heads=fewer).verdict, judge(name, heads=fewer).num_runs) == (HOLDS, 50)
    few = judge("models_align", one_layer=planted.one_layer(num_seeds=4))
    assert (few.verdict, few.reason) == (UNDECIDED, "4 run(s), needs 10")


def test_runs_that_diverged_count_as_lost():
    def lost(values_RT):
        values_RT[:12, -3:] = np.nan
        return values_RT

    one = planted.one_layer()
    spoilt = {"one_layer": changed(one, label_excess=lost, label_loss=lost, trained_loss=lost, gd_alignment=lost)}
    assert judge("models_align", **spoilt).estimate.value == -1
    assert judge("one_layer_has_the_loss_of_one_step", **spoilt).verdict == UNDECIDED
    heads = changed(planted.heads(num_seeds=60), label_excess=lost)
    assert judge("most_seeds_reach_one_step", heads=heads).estimate.value == 48 / 60


def test_the_same_seeds_are_paired_whatever_their_order():
    heads = planted.heads().history
    one, two = (measures.runs_with(heads, "model.num_heads", count) for count in (1, 2))
    backwards = replace(two, runs=two.runs[::-1], values={name: v[::-1] for name, v in two.values.items()})
    for mine, theirs in ((one, two), (backwards, one)):
        left, right = measures.matched_by_seed(mine, theirs)
        assert [run.init_seed for run in left.runs] == [run.init_seed for run in right.runs]
    found = measures.matched_by_seed(one, backwards)[1]
    np.testing.assert_array_equal(found.values["label_loss"], two.values["label_loss"])
