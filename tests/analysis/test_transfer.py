"""Forecasts by another sweep: what carries over is given, and what need not is a sentence, never a number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.evaluation import cases_of
from analysis.forecasting.fitted import fit_forecasts
from analysis.forecasting.live import forecast_running
from analysis.forecasting.ranking import Ranking, in_window, places_in_setting, relative
from analysis.forecasting.scoring.scores import auroc
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.subsets import joined
from analysis.predictors.base import Targets
from analysis.predictors.features import Features
from analysis.predictors.ridge_time import RidgeTime
from pipeline.store.history import LABEL_PREFIX
from tests.analysis.synthetic import BUDGET, synthetic_history
from tests.analysis.test_live import seen_at, waves

SOURCE = synthetic_history(4, 30, seed=9, name="source", first_seed=1000, diverge_share=0.0)
FITTED = fit_forecasts(SOURCE, decide_outcomes(SOURCE), bootstrap=0)
WINDOW = 0.25


def elsewhere(history, turned=lambda metric: False, task="dictionary_lookup", **changes):
    """The history in other settings, whose metrics have other units; those that `turned` picks mean the opposite."""
    number_R1 = np.array([[int(run.setting_id[-1])] for run in history.runs])
    values = {
        metric: array
        if metric.startswith(LABEL_PREFIX)
        else array * (2.0 + number_R1) * (-1 if turned(metric) else 1) + 10 * number_R1
        for metric, array in history.values.items()
    }
    runs = tuple(
        replace(
            run,
            setting_id=f"new {run.setting_id}",
            hyperparameters={**run.hyperparameters, "task.name": task, "batch_size": 8},
        )
        for run in history.runs
    )
    return replace(history, runs=runs, values=values, **changes)


WHOLE = synthetic_history(4, 40, seed=7, diverge_share=0.0)
IS_CONVERGED = dict(
    zip([run.run_id for run in WHOLE.runs], (decide_outcomes(WHOLE).kind_R == "converged").tolist(), strict=True)
)


def begun(history):
    """The sweep when every run has trained to the end of the window, so no label is known."""
    return seen_at(history, np.full(len(history.runs), int(WINDOW * BUDGET)))


def forecast(history, **options):
    return forecast_running(history, decide_outcomes(history), FITTED, bootstrap=0, **options)


def auroc_of(runs, score):
    setting_N = np.unique([run.setting for run in runs], return_inverse=True)[1]
    converged_N = np.array([IS_CONVERGED[run.run_id] for run in runs])
    return auroc(np.array([score(run) for run in runs]), converged_N, setting_N, np.ones((1, len(runs))))[0]


def relative_columns(history):
    cases = cases_of(history.window(WINDOW))
    return relative(cases.statistics, cases.setting_R, in_window(history, decide_outcomes(history), 500))


def test_relative_columns_have_mean_0_and_spread_1_over_the_runs_of_a_setting_in_use():
    rng = np.random.default_rng(0)
    setting_R = np.array(["a"] * 12 + ["b"] * 11 + ["c"] * 9)
    use_R = np.arange(32) != 3
    values_RF = np.column_stack([rng.normal(size=32), np.arange(32) // 12, rng.normal(size=32)])
    values_RF[1, 2] = np.nan
    found_RF = relative(Features(("x", "constant", "y"), values_RF), setting_R, use_R).values_RF
    for setting in ("a", "b"):
        in_R = (setting_R == setting) & use_R
        np.testing.assert_allclose(np.nanmean(found_RF[in_R][:, [0, 2]], axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.nanstd(found_RF[in_R][:, [0, 2]], axis=0), 1)
    assert (found_RF[:12, 1] == 0).all()
    assert np.isnan(found_RF[1, 2])
    assert np.isnan(found_RF[setting_R == "c"]).all()
    in_a_R = (setting_R == "a") & use_R
    expected = (values_RF[3, 0] - values_RF[in_a_R, 0].mean()) / values_RF[in_a_R, 0].std()
    assert found_RF[3, 0] == pytest.approx(np.clip(expected, -4, 4))


def test_relative_columns_are_the_same_in_other_units():
    np.testing.assert_allclose(
        relative_columns(elsewhere(WHOLE)).values_RF, relative_columns(WHOLE).values_RF, atol=1e-6
    )


def test_places_count_from_the_highest_score_of_each_setting_in_use():
    setting_R, use_R = np.array(["a", "a", "b", "a", "b"]), np.array([True, True, True, False, True])
    place_R, number_R = places_in_setting(np.array([1.0, 2.0, 5.0, 9.0, 5.0]), setting_R, use_R)
    assert (place_R.tolist(), number_R.tolist()) == ([2, 1, 1, 0, 1], [2, 2, 2, 0, 2])


def test_columns_that_go_together_otherwise_are_noticed_without_an_outcome():
    ranking = FITTED.windows[2].ranking
    same, turned = (
        relative_columns(elsewhere(WHOLE, turned=lambda metric, some=some: metric.startswith(some)))
        for some in ("nothing", "induction_score")
    )
    assert ranking.agreement(same) > 0.95
    assert ranking.agreement(turned) < 0.7


def test_other_settings_of_the_task_are_ranked_where_absolute_numbers_fail():
    found = forecast(begun(elsewhere(WHOLE)))
    assert all(run.num_ranked == 40 and 1 <= run.rank <= 40 for run in found.runs)
    assert auroc_of(found.runs, lambda run: -run.rank) > 0.75
    assert auroc_of(found.runs, lambda run: run.converged) < auroc_of(found.runs, lambda run: -run.rank) - 0.1
    assert any("160 of 160 forecasts are of settings that source does not have" in note for note in found.notes)
    assert "such ranks of runs inside their setting had an AUROC of" in found.windows[1].sentence()
    assert FITTED.windows[2].auroc_ranking.value > 0.75


def test_settings_that_were_learned_from_have_probabilities_and_no_ranks():
    found = forecast(begun(WHOLE))
    assert all(run.rank == 0 and 0 < run.converged < 1 for run in found.runs)
    assert not any("settings that source does not have" in note for note in found.notes)


def test_another_task_has_no_number_but_a_sentence_unless_it_is_asked_for():
    now = begun(elsewhere(WHOLE, task="repeated_sequence"))
    kept = {metric: array for metric, array in now.values.items() if metric != "grad_norm"}
    assert forecast(replace(now, values=kept)).runs[0].problem.startswith("no forecast: learned from task")
    found = forecast(now)
    assert np.isnan([run.converged for run in found.runs]).all()
    assert {run.rank for run in found.runs} == {0}
    assert {run.problem for run in found.runs} == {
        "no forecast: learned from task dictionary_lookup with model None, and what it shows need not carry over to "
        "task repeated_sequence with model None"
    }
    assert found.windows == ()
    asked = forecast(now, any_task=True)
    assert np.isnan([run.converged for run in asked.runs]).all()
    assert all(run.rank and run.problem.startswith("ranked only: learned from task") for run in asked.runs)


def test_a_source_whose_columns_mean_the_opposite_is_abstained_from():
    for settings in (lambda history: history, elsewhere):
        opposite = begun(elsewhere(WHOLE, turned=lambda metric: metric.startswith("induction_score")))
        now = replace(opposite, runs=settings(WHOLE).runs)
        found = forecast(now)
        assert np.isnan([run.converged for run in found.runs]).all()
        assert {run.rank for run in found.runs} == {0}
        assert all("goes together here as it does there, and a forecast needs 75%" in run.problem for run in found.runs)


def test_under_another_budget_or_criterion_runs_are_ranked_and_have_no_probability():
    history, step = begun(WHOLE), int(WINDOW * BUDGET)
    outcomes = decide_outcomes(history)
    for changed, said in (
        (replace(FITTED, budget=1000), "with model None; budget 1000, here 2000"),
        (replace(FITTED, criterion=replace(FITTED.criterion, at_most=0.1)), "with model None; criterion"),
    ):
        found = forecast_running(history, outcomes, changed, bootstrap=0)
        assert all(said in run.problem and np.isnan(run.converged) for run in found.runs)
        assert auroc_of(found.runs, lambda run: -run.rank) > 0.75
        assert any("its probabilities do not apply" in note for note in found.notes)
        assert [source.last_step for source in found.windows] == [step]


def test_a_setting_with_too_few_runs_is_not_ranked():
    small = elsewhere(synthetic_history(4, 8, seed=3, diverge_share=0.0))
    found = forecast_running(begun(small), decide_outcomes(begun(small)), replace(FITTED, budget=1000), bootstrap=0)
    assert {run.problem for run in found.runs} == {"no forecast: its setting has fewer than 10 runs to compare it with"}


def test_finished_runs_of_the_new_settings_turn_ranks_into_probabilities():
    now = seen_at(elsewhere(WHOLE), waves(WHOLE))
    outcomes = decide_outcomes(now)
    adapted = forecast_running(now, outcomes, replace(FITTED, budget=1000), bootstrap=0)
    known = [run for run in adapted.runs if run.window == WINDOW]
    assert len(known) > 20
    assert all(0 < run.converged < 1 and run.rank and not run.problem for run in known)
    assert auroc_of(known, lambda run: run.converged) > 0.75
    sources = [source for source in adapted.windows if source.prior]
    assert sources
    assert all("and from how source ranks runs" in source.sentence() for source in sources)


def test_no_adapted_forecast_rests_on_the_outcome_of_its_own_seed():
    now = seen_at(elsewhere(WHOLE), waves(WHOLE))
    outcomes, other = decide_outcomes(now), replace(FITTED, budget=1000)
    before = {run.run_id: repr(run) for run in forecast_running(now, outcomes, other, bootstrap=0).runs}
    own_R = np.array([run.init_seed == 2 for run in now.runs])
    turned = {"converged": "unconverged", "unconverged": "converged"}
    kind_R = np.array([turned.get(k, k) if own else k for k, own in zip(outcomes.kind_R, own_R, strict=True)])
    after = forecast_running(now, replace(outcomes, kind_R=kind_R), other, bootstrap=0).runs
    assert all(repr(run) == before[run.run_id] for run in after if run.run_id.endswith("-2"))
    assert any(repr(run) != before[run.run_id] for run in after)


def test_finished_runs_whose_seeds_a_file_has_seen_are_not_learned_from():
    other = synthetic_history(4, 30, seed=9, name="source", first_seed=25, diverge_share=0.0)
    fitted = replace(fit_forecasts(other, decide_outcomes(other), bootstrap=0), budget=1000)
    now = seen_at(elsewhere(WHOLE), waves(WHOLE))
    outcomes = decide_outcomes(now)
    before = repr(forecast_running(now, outcomes, fitted, bootstrap=0).runs)
    for is_seen in (True, False):
        turned_R = np.array([(run.init_seed >= 25) == is_seen for run in now.runs]) & (outcomes.kind_R == "converged")
        kind_R = np.where(turned_R, "unconverged", outcomes.kind_R)
        after = repr(forecast_running(now, replace(outcomes, kind_R=kind_R), fitted, bootstrap=0).runs)
        assert (after == before) == is_seen


def test_few_runs_suffice_to_weigh_what_another_sweep_says():
    """With 30 runs the column of the other sweep is worth more than 150 of noise; without the exemption it drowns."""
    rng = np.random.default_rng(5)
    history = synthetic_history(1, 330, seed=4, diverge_share=0.0)
    cases, outcomes = cases_of(history.window(WINDOW)), decide_outcomes(history)
    own_R = np.arange(330) < 30
    score_R = cases.statistics.named(["strongest_head(induction_score.l1 max)"]).values_RF
    noise = Features(tuple(f"noise {f}" for f in range(150)), rng.normal(size=(330, 150)))
    statistics = noise.beside(Features(("prior",), score_R))
    converged_R = outcomes.kind_R == "converged"
    found = {}
    for prior in ("", "prior"):
        seen = replace(cases, statistics=statistics)
        fitted = RidgeTime(prior).fit(seen.rows(own_R), Targets.of(outcomes, BUDGET, own_R))
        probability_N = fitted.forecast(seen.rows(~own_R)).converged_R
        found[prior] = auroc(probability_N, converged_R[~own_R], np.zeros(300, int), np.ones((1, 300)))[0]
    assert found["prior"] > 0.8
    assert found["prior"] > found[""] + 0.1


def test_in_sweeps_of_several_tasks_one_without_a_finished_run_has_no_number():
    other = synthetic_history(2, 30, seed=12, name="other", first_seed=500)
    runs = tuple(
        replace(run, run_id=f"p{run.run_id}", hyperparameters={**run.hyperparameters, "task.name": "parity"})
        for run in other.runs
    )
    both = joined([seen_at(WHOLE, waves(WHOLE)), begun(replace(other, runs=runs))])
    found = forecast_running(both, decide_outcomes(both), bootstrap=0)
    new = [run for run in found.runs if run.run_id.startswith("p")]
    assert len(new) == 60
    assert all("no run of task parity with model None has finished" in run.problem for run in new)
    assert any(not run.problem for run in found.runs)


def test_no_setting_with_enough_runs_gives_no_ranking():
    small = synthetic_history(4, 8, seed=3, diverge_share=0.0)
    cases, targets = cases_of(small.window(WINDOW)), Targets.of(decide_outcomes(small), BUDGET, np.ones(32, bool))
    assert Ranking.fit(cases, targets, np.ones(32), relative_columns(small)) is None
