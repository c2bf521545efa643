"""Sweeps that ran under a rule: the control share stands for what was stopped, and bounds what was lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.control_share import control_runs, rule_stops_R, stopping_weights
from analysis.forecasting.fitted import fit_forecasts
from analysis.forecasting.live import forecast_running
from analysis.forecasting.scoring.scores import auroc, brier
from analysis.outcomes.outcomes import CENSORED, decide_outcomes
from analysis.predictors.base_rate import BaseRate
from analysis.stopping.audit import StoppingAudit
from analysis.stopping.fitting import fit_policy
from analysis.stopping.promise import Promise
from analysis.summary.analyse import analyse
from analysis.summary.settings import describe_intervals
from analysis.uncertainty.exact import clopper_pearson_upper
from analysis.uncertainty.intervals import from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.spec.registered import declared
from pipeline.store.history import RunEnd
from pipeline.store.sweep_store import SweepStore
from sweeps.command.sources import read_source
from tests.stopping.under_rule import crude_rule, drawn_sweep, under_rule
from tests.support import opened, tiny

RULE = crude_rule()
WHOLE = drawn_sweep(600, seed=1)
SEEN = under_rule(WHOLE, RULE)
OUTCOMES = decide_outcomes(SEEN)


def test_control_runs_stand_for_all_that_the_rule_stops_and_every_other_run_for_itself():
    weight_R, would_R = stopping_weights(SEEN, OUTCOMES, RULE), np.isfinite(rule_stops_R(WHOLE, RULE))
    control_R, stopped_R = control_runs(SEEN, RULE), np.array([end.reason == "stopped" for end in SEEN.ends])
    assert rule_stops_R(SEEN, RULE).tolist() == rule_stops_R(WHOLE, RULE).tolist()
    assert weight_R.sum() == pytest.approx(600)
    assert set(weight_R[stopped_R]) == {0.0}
    assert set(weight_R[~would_R]) == {1.0}
    (weight,) = set(weight_R[would_R & control_R])
    assert weight == would_R.sum() / (would_R & control_R).sum() == pytest.approx(5, rel=0.3)
    assert not (OUTCOMES.kind_R[weight_R > 0] == CENSORED).any()


def test_a_sweep_in_which_nothing_was_stopped_has_weights_of_one():
    assert stopping_weights(WHOLE, decide_outcomes(WHOLE), RULE).tolist() == [1.0] * 600


def test_weights_that_would_stand_for_nothing_are_refused():
    no_control = crude_rule(control_share=0.0)
    seen = under_rule(WHOLE, no_control)
    with pytest.raises(ValueError, match="nothing stands for them"):
        stopping_weights(seen, decide_outcomes(seen), no_control)
    with pytest.raises(ValueError, match="that this rule does not stop"):
        stopping_weights(SEEN, OUTCOMES, crude_rule(highest=2.0))


def scores_of(history, outcomes, weight_R, bootstrap=100):
    """Share converged, AUROC and Brier score of forecasts by the probe loss, each (1 + B,)."""
    weight_BR = resample(history.runs, bootstrap, seed=0).with_estimate() * weight_R
    converged_R = outcomes.kind_R == "converged"
    chance_R = 1 / (1 + np.exp(history.values["probe_loss"][:, 1]))
    share_B = weight_BR @ converged_R / weight_BR.sum(axis=1)
    return (
        share_B,
        auroc(chance_R, converged_R, np.zeros(len(chance_R), int), weight_BR),
        brier(chance_R, converged_R, weight_BR),
    )


def test_weighted_shares_and_scores_are_those_without_a_rule_and_their_intervals_cover():
    wholes = [drawn_sweep(2000, seed) for seed in range(1000, 1015)]
    truths = [scores_of(whole, decide_outcomes(whole), np.ones(2000), 0) for whole in wholes]
    truth_3 = np.mean([[score_B[0] for score_B in found] for found in truths], axis=0)
    weighted, naive, covered = [], [], []
    for seed in range(40):
        seen = under_rule(drawn_sweep(400, seed), RULE)
        outcomes = decide_outcomes(seen)
        found = scores_of(seen, outcomes, stopping_weights(seen, outcomes, RULE))
        weighted.append([score_B[0] for score_B in found])
        known_R = (outcomes.kind_R != CENSORED).astype(float)
        naive.append([score_B[0] for score_B in scores_of(seen, outcomes, known_R, 0)])
        intervals = [from_bootstrap(score_B) for score_B in found]
        covered.append([i.low <= truth <= i.high for i, truth in zip(intervals, truth_3, strict=True)])
    error_3 = np.std(weighted, axis=0, ddof=1) / np.sqrt(40)
    bias_3, naive_bias_3 = (np.mean(found, axis=0) - truth_3 for found in (weighted, naive))
    assert (np.abs(bias_3) < 3 * error_3 + 0.002).all()
    assert (np.abs(naive_bias_3) > 3 * error_3).all()
    assert (np.mean(covered, axis=0) >= 0.8).all()


def test_the_audit_counts_what_was_saved_and_bounds_what_was_lost():
    audit = StoppingAudit.of(SEEN, OUTCOMES, RULE)
    truth, would_R = decide_outcomes(WHOLE).kind_R == "converged", np.isfinite(rule_stops_R(WHOLE, RULE))
    control_R = control_runs(WHOLE, RULE)
    assert audit.num_stopped == (would_R & ~control_R).sum()
    assert (audit.num_control, audit.num_control_would) == (control_R.sum(), (control_R & would_R).sum())
    assert (audit.num_control_converged, audit.num_control_lost) == (
        (control_R & truth).sum(),
        (control_R & would_R & truth).sum(),
    )
    assert audit.num_control_lost > 0
    assert audit.lost_upper == clopper_pearson_upper(audit.num_control_lost, audit.num_control_converged)
    assert audit.lost_upper > (would_R & truth).sum() / truth.sum()
    assert audit.steps_left == 300 * audit.num_stopped == audit.steps_saved
    assert audit.saved_share == pytest.approx(audit.steps_left / (600 * 400))
    told = " ".join(audit.sentences())
    assert f"would have stopped {audit.num_control_lost}: so with 95% confidence" in told
    assert "takes 299 control runs" in told


def test_steps_that_control_runs_did_not_take_are_not_counted_as_saved():
    """Converged runs that end at step 300: of the 300 steps left, the share that control runs took is saved."""
    truth = decide_outcomes(WHOLE).kind_R == "converged"
    ends = tuple(RunEnd("converged", 300) if c else end for c, end in zip(truth, WHOLE.ends, strict=True))
    audit = StoppingAudit.of(seen := under_rule(replace(WHOLE, ends=ends), RULE), decide_outcomes(seen), RULE)
    lost, would = audit.num_control_lost, audit.num_control_would
    assert audit.steps_saved == pytest.approx(audit.steps_left * (300 * would - 100 * lost) / (300 * would))


def test_an_unfinished_sweep_is_not_audited():
    running = replace(SEEN, ends=(RunEnd("running", 0), *SEEN.ends[1:]))
    values = {metric: array.copy() for metric, array in SEEN.values.items()}
    for array in values.values():
        array[0] = np.nan
    running = replace(running, values=values)
    with pytest.raises(ValueError, match="1 of 600 runs"):
        StoppingAudit.of(running, decide_outcomes(running), RULE)


def test_an_analysis_counts_control_runs_for_those_that_were_stopped():
    weight_R = stopping_weights(SEEN, OUTCOMES, RULE)
    converged_R = OUTCOMES.kind_R == "converged"
    weighted, plain = (
        analyse(SEEN, windows=(0.1, 0.25), predictors={"base_rate": BaseRate()}, bootstrap=10, copies_R=copies_R)
        for copies_R in (weight_R, None)
    )
    (summary,) = weighted.settings
    assert summary.converged.value == pytest.approx(weight_R @ converged_R / 600)
    assert summary.by_step == 400
    assert [any("stand for those" in s for s in describe_intervals(a.settings)) for a in (weighted, plain)] == [
        True,
        False,
    ]
    assert abs(plain.settings[0].converged.value - summary.converged.value) > 0.05
    # At the step at which the rule decides, too: the runs that it lets go on are not a fair sample of those at risk.
    assert ["were stopped" in window.problem for window in plain.evaluation.windows] == [True, True]
    early, late = weighted.evaluation.windows
    assert (early.problem, late.problem) == ("", "")
    assert early.base_rate == pytest.approx(weight_R @ converged_R / 600)
    assert "stand for those that it stopped" in early.note


def test_forecasts_of_running_runs_count_control_runs_for_those_that_were_stopped():
    weight_R, would_R = stopping_weights(SEEN, OUTCOMES, RULE), np.isfinite(rule_stops_R(SEEN, RULE))
    share = weight_R @ (OUTCOMES.kind_R == "converged") / weight_R.sum()
    running_R = ~would_R & (np.arange(600) >= 500)
    ends = tuple(RunEnd("running", 100) if now else end for now, end in zip(running_R, SEEN.ends, strict=True))
    seen_RT = SEEN.steps_T <= np.where(running_R, 100, 400)[:, None]
    # Without anything to tell runs apart every forecast is the share of all runs that converge.
    values = {"label_excess": np.where(seen_RT, SEEN.values["label_excess"], np.nan), "blind": np.ones((600, 5))}
    now = replace(SEEN, ends=ends, values=values)
    outcomes = decide_outcomes(now)
    for copies_R, low, high in ((weight_R, share - 0.06, share + 0.06), (None, share + 0.09, 1.0)):
        found = forecast_running(now, outcomes, windows=(0.25,), copies_R=copies_R, bootstrap=0)
        assert len(found.runs) == running_R.sum()
        assert all(low < run.converged < high for run in found.runs)
        assert ("control share" in found.notes[0]) == (copies_R is not None)
        fitted = fit_forecasts(now, outcomes, (0.25,), copies_R=copies_R, bootstrap=0)
        assert all(low < run.converged < high for run in forecast_running(now, outcomes, unseen(fitted)).runs)


def unseen(fitted):
    """The forecaster as if it had been learned from runs with other seeds."""
    return replace(fitted, init_seeds=(), data_seeds=())


def test_a_results_folder_that_ran_under_a_rule_is_read_with_its_weights(tmp_path, monkeypatch):
    store = opened(tiny(budget=400, grid={"chunk": 100}, stopping=declared(RULE)), tmp_path / "ruled")
    plain = opened(tiny(budget=400, grid={"chunk": 100}), tmp_path / "plain")
    earlier = drawn_sweep(50, seed=7, first=1000)
    monkeypatch.setattr(SweepStore, "history", lambda self, *_: {"ruled": SEEN, "plain": earlier}[self.folder.name])
    found = read_source([store, plain])
    assert found.copies_R.tolist() == [*stopping_weights(SEEN, OUTCOMES, RULE), *np.ones(50)]


def test_a_policy_made_anew_learns_from_the_control_share_and_is_calibrated_on_it_alone():
    weight_R, control_R = stopping_weights(SEEN, OUTCOMES, RULE), control_runs(SEEN, RULE)
    policy = fit_policy(SEEN, OUTCOMES, (0.25,), promise=Promise(0.1), weight_R=weight_R, is_free_R=control_R)
    converged_R = OUTCOMES.kind_R == "converged"
    assert policy.num_convergers == (control_R & converged_R).sum() < converged_R.sum() / 3
    assert policy.num_runs == (weight_R > 0).sum()
    whole = fit_policy(WHOLE, decide_outcomes(WHOLE), (0.25,), promise=Promise(0.1))
    asked = {"probe_loss": np.array([1.0, 0.0, -1.0])}
    again_R, known_R = (p.windows[0].probability_R(asked, [{}] * 3) for p in (policy, whole))
    np.testing.assert_allclose(again_R, known_R, atol=0.08)
    with pytest.raises(ValueError, match="nothing stands for them"):
        fit_policy(SEEN, OUTCOMES, (0.25,), promise=Promise(0.1))
