"""Stopping by forecasts: the rule scores runs as analysis does, stops whom it says, and changes no history."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.control_share import rule_stops_R
from analysis.outcomes.outcomes import decide_outcomes
from analysis.stopping.decisions import DecisionWindows
from analysis.stopping.fitting import fit_policy
from analysis.stopping.promise import Promise
from pipeline.planning.packs import stored_spec
from pipeline.spec.sweep import SweepSpec, diff
from pipeline.stopping.base import RunPrefix
from pipeline.stopping.forecast import StopByForecast
from pipeline.stopping.policy_file import Policy, read_policy, write_policy
from pipeline.store.formats.sealed import seal
from pipeline.store.history import History, RunEnd, RunInfo
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import progress_by_pack, summed
from pipeline.training.recorded_metrics import recorded_metrics
from tests.analysis.synthetic import synthetic_history
from tests.support import interrupted, opened, rows, tiny, trained, weights

SHARES = (0.1, 0.25, 0.5)
EIGHT = {"seeds": {"together": list(range(8))}, "resources": {"slots": 8}}


def of_kinds(history):
    """The same runs with a number, a wide number, and two words that vary by setting."""
    number = {name: place for place, name in enumerate(dict.fromkeys(run.setting_id for run in history.runs))}
    more = [
        {"model.width": 8 + number[run.setting_id], "task.name": ("a", "b")[number[run.setting_id] % 2]}
        for run in history.runs
    ]
    runs = tuple(
        replace(run, hyperparameters={**run.hyperparameters, **given})
        for run, given in zip(history.runs, more, strict=True)
    )
    return replace(history, runs=runs, varied=("optimiser.lr", "model.width", "task.name"))


HISTORY = of_kinds(synthetic_history(3, 80, seed=3))
OUTCOMES = decide_outcomes(HISTORY)
WINDOWS = DecisionWindows.of(HISTORY, OUTCOMES, SHARES)
POLICY = fit_policy(HISTORY, OUTCOMES, SHARES, promise=Promise(0.05))
RULE = StopByForecast(predictor=POLICY, lose_at_most=0.05, control_share=0.0)


def prefix_of(history, outcomes, r, step):
    """What run r had recorded when it was evaluated at `step`."""
    upto_T = history.steps_T <= step
    excess_T = history.values["label_excess"][r, upto_T]
    eval_steps_E = history.steps_T[upto_T][np.isfinite(excess_T)]
    start = int(outcomes.criterion.first_streak(excess_T[None, np.isfinite(excess_T)])[0])
    values = {metric: array[r, upto_T] for metric, array in history.values.items()}
    run, index = history.runs[r], None if start < 0 else start
    return RunPrefix(
        run.run_id, history.budget, history.steps_T[upto_T], values, eval_steps_E, index, 2, run.hyperparameters
    )


def test_the_rule_scores_and_stops_runs_as_analysis_does():
    models = WINDOWS.fitted(np.ones(240, bool), lambda name: True)
    probability_RW = WINDOWS.probability_RW(models, np.ones(240, bool))
    for w, window in enumerate(POLICY.windows):
        for r in range(240):
            if HISTORY.ends[r].reason == "diverged" and HISTORY.ends[r].step <= window.step:
                continue
            prefix = prefix_of(HISTORY, OUTCOMES, r, window.step)
            if np.isnan(probability_RW[r, w]):
                assert not RULE.would_stop(prefix)
                continue
            last = {name: array[np.isfinite(array)][-1:] for name, array in prefix.values.items()}
            found = window.probability_R({n: v for n, v in last.items() if len(v)}, [prefix.hyperparameters])[0]
            assert found == pytest.approx(probability_RW[r, w], rel=1e-9)
            assert RULE.would_stop(prefix) == (probability_RW[r, w] < window.threshold)
    first = POLICY.windows[0]
    odds = first.threshold / (1 - first.threshold) * np.sqrt(1 - first.share)
    stop_R = WINDOWS.stop_step_R(probability_RW, odds / (1 + odds))
    assert rule_stops_R(HISTORY, RULE).tolist() == stop_R.tolist()
    assert 40 < np.isfinite(stop_R).sum() < 200


def test_a_run_is_asked_at_the_windows_alone_and_by_what_came_before():
    r = int(np.flatnonzero(rule_stops_R(HISTORY, RULE) == 200)[0])
    assert next(step for step in range(50, 1001, 50) if RULE.would_stop(prefix_of(HISTORY, OUTCOMES, r, step))) == 200
    assert not RULE.should_stop(prefix_of(HISTORY, OUTCOMES, r, 250))


def test_a_metric_without_a_number_counts_as_the_middle_one():
    r = int(np.flatnonzero(rule_stops_R(HISTORY, RULE) == 200)[0])
    prefix = prefix_of(HISTORY, OUTCOMES, r, 200)
    window = POLICY.window_at(200)
    column = next(c for c in window.columns if c.name == "train_loss")
    filled = {"train_loss": np.array([column.fill])}
    for missing in ({}, {"train_loss": np.array([np.nan])}):
        found = window.probability_R(missing, [prefix.hyperparameters])
        assert found.tolist() == window.probability_R(filled, [prefix.hyperparameters]).tolist()


def test_the_control_share_is_drawn_once_and_for_all_and_is_never_stopped():
    rule = RULE.model_copy(update={"control_share": 0.2})
    ids = [f"{number:016x}" for number in range(20_000)]
    in_control = [rule.is_control(run_id) for run_id in ids]
    assert np.mean(in_control) == pytest.approx(0.2, abs=0.01)
    assert in_control == [rule.is_control(run_id) for run_id in ids]
    other = rule.model_copy(update={"salt": 1})
    both = np.mean([one and other.is_control(run_id) for one, run_id in zip(in_control, ids, strict=True)])
    assert both == pytest.approx(0.04, abs=0.006)
    stopped = np.flatnonzero(rule_stops_R(HISTORY, rule) == 200)
    prefixes = [prefix_of(HISTORY, OUTCOMES, r, 200) for r in stopped]
    assert [rule.should_stop(p) for p in prefixes] == [not rule.is_control(p.run_id) for p in prefixes]
    assert 0 < sum(rule.is_control(p.run_id) for p in prefixes) < len(prefixes)


def test_a_run_whose_last_evaluation_met_the_criterion_goes_on_and_is_asked_again_later():
    rule, steps_T = StopByForecast.tiny(), np.array([50, 100, 150, 200])
    excess_T, loss_T = np.array([1.0, 0.01, 0.5, 0.5]), np.full(4, 0.9)
    answers = {}
    for num in (2, 4):
        values = {"label_excess": excess_T[:num], "probe_loss": loss_T[:num]}
        answers[num] = rule.should_stop(RunPrefix("a", 1000, steps_T[:num], values, steps_T[:num], None, 2))
    assert answers == {2: False, 4: True}
    runs = (RunInfo("a", "s", 0, 0, {}),)
    values = {"label_excess": excess_T[None], "probe_loss": loss_T[None]}
    history = History("one", 1000, runs, (RunEnd("budget", 1000),), steps_T, values)
    assert rule_stops_R(history, rule).tolist() == [200]


def test_converged_runs_end_as_under_after_convergence_and_are_called_so():
    r = int(np.flatnonzero(OUTCOMES.kind_R == "converged")[0])
    start = int(OUTCOMES.upper_R[r])
    answers = {step: RULE.should_stop(prefix_of(HISTORY, OUTCOMES, r, step)) for step in range(start, start + 300, 50)}
    assert list(answers.values()) == [False, False, False, True, True, True]
    assert RULE.reason_of(prefix_of(HISTORY, OUTCOMES, r, start + 200)) == "converged"
    assert RULE.reason_of(prefix_of(HISTORY, OUTCOMES, r, start - 50)) == "stopped"


def test_a_policy_comes_back_from_its_file_to_the_bit(tmp_path):
    write_policy(tmp_path / "p.json", POLICY)
    again = read_policy(tmp_path / "p.json")
    assert again == POLICY
    assert again.content_hash == POLICY.content_hash
    read = StopByForecast(predictor=str(tmp_path / "p.json"), lose_at_most=0.05)
    assert read.predictor == POLICY


def test_a_file_that_is_no_policy_is_refused_by_name(tmp_path):
    path = tmp_path / "p.json"
    write_policy(path, POLICY)
    text = path.read_text()
    body = json.loads(text)["body"]
    for content, said in (
        (text.replace('"step": 200', '"step": 201', 1).encode(), "p.json"),
        (seal({**body, "format": "other"}), "format must be"),
        (seal({**body, "policy": {**body["policy"], "windows": []}}), "windows"),
        (seal({**body, "policy": {**body["policy"], "windows": body["policy"]["windows"][::-1]}}), "increasing steps"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_policy(path)
    with pytest.raises(ValueError, match=r"nowhere\.json"):
        read_policy(tmp_path / "nowhere.json")


def small_policy(threshold=0.5, **changes):
    """For the tiny sweeps of tests: at steps 10 and 20 of 30, by the probe loss, whose middle is about 1.4."""
    column = {"source": "metric", "name": "probe_loss", "fill": 1.0, "low": 0.0, "high": 9.0, "mean": 1.415}
    window = {"intercept": 0.0, "threshold": threshold}
    windows = [
        {"share": at / 30, "step": at, "columns": [{**column, "at": at, "spread": 0.01, "weight": -1.0}], **window}
        for at in (10, 20)
    ]
    about = {"source": "tiny", "num_runs": 100, "settings": (), "budget": 30, "num_convergers": 400, "num_lost": 0}
    promise = {"lose_at_most": 0.01, "is_promised": True}
    criterion = {"metric": "label_excess", "at_most": 0.02, "evaluations": 2}
    return Policy.model_validate({**about, **promise, "criterion": criterion, "windows": windows} | changes)


def ruled(policy, **changes):
    """A tiny sweep of 8 runs under a rule by this policy."""
    rule = {"name": "forecast", "predictor": policy.model_dump(), "control_share": 0.3}
    return tiny(**{**EIGHT, "stopping": rule, **changes})


def test_a_stopped_history_is_a_bitwise_prefix_however_it_was_interrupted(tmp_path, monkeypatch):
    free = trained(tiny(**EIGHT, stopping={"name": "run_to_budget"}), tmp_path / "free")
    history, data = free.history(), small_policy().model_dump()
    for window, level in zip(data["windows"], (0.7, 0.4), strict=True):
        probed_R = history.values["probe_loss"][:, history.steps_T == window["step"]]
        window["columns"][0]["mean"] = float(np.quantile(probed_R, level))
    spec = ruled(Policy.model_validate(data))
    store = trained(spec, tmp_path / "ruled")
    history, rule = store.history(), stored_spec(store).stopping
    expected_R = rule_stops_R(free.history(), rule)
    control = [rule.is_control(run.run_id) for run in history.runs]
    assert any(control)
    stops = [int(stop) for stop, held in zip(expected_R, control, strict=True) if np.isfinite(stop) and not held]
    assert len(set(stops)) == 2
    for run, end, stop, held in zip(history.runs, history.ends, expected_R, control, strict=True):
        assert (end.reason, end.step) == (("stopped", stop) if np.isfinite(stop) and not held else ("budget", 30))
        assert run.run_id in weights(store)
    done = summed(progress_by_pack(store).values())
    assert done.num_stopped == sum(end.reason == "stopped" for end in history.ends) > 0
    assert done.outcomes_text().endswith(f", {done.num_stopped} stopped")
    assert "stopped" not in summed(progress_by_pack(free).values()).outcomes_text()
    known, found = rows(free), rows(store)
    assert {place: bits for place, bits in found.items() if known.get(place) != bits} == {}
    assert known.keys() > found.keys()
    again, attempts = interrupted(spec, tmp_path / "again", 1, monkeypatch)
    assert attempts > 1
    assert rows(again) == found
    assert decide_outcomes(history).count("censored") == len(stops)


def test_a_results_folder_needs_no_policy_file(tmp_path):
    write_policy(tmp_path / "p.json", small_policy())
    rule = {"name": "forecast", "predictor": str(tmp_path / "p.json")}
    store = opened(tiny(stopping=rule), tmp_path / "r")
    (tmp_path / "p.json").unlink()
    assert stored_spec(store).stopping.predictor == small_policy()


def test_the_hash_of_a_policy_is_of_what_it_promises_and_stays_where_it_promises_no_average():
    one, mean = small_policy(), small_policy().model_copy(update={"expect_at_most": 0.005})
    assert one.content_hash == "8a988f2ec096a7eb"
    assert len({one.content_hash, mean.content_hash, small_policy(0.4).content_hash}) == 3


def test_the_policy_is_part_of_what_a_sweep_is():
    one, same, other = (ruled(small_policy(threshold)) for threshold in (0.5, 0.5, 0.4))
    assert one.sweep_id == same.sweep_id != other.sweep_id
    (line,) = diff(one, other)
    assert line.startswith("stopping.predictor.windows: ")
    assert len(line) < 400


@pytest.mark.parametrize(
    ("policy", "changes", "said"),
    [
        ({}, {"budget": 60}, "budget: the policy was made for 30, this sweep has 60"),
        ({}, {"converged": {"at_most": 0.1}}, "converged: the policy was made for label_excess <= 0.02"),
        ({}, {"grid": {"chunk": 10, "eval_steps": [20, 30]}}, "not evaluated at step 10"),
        ({"lose_at_most": 0.05}, {}, "lose_at_most is 0.01, and the policy was calibrated for 0.05"),
    ],
)
def test_a_sweep_that_a_policy_does_not_fit_is_refused_when_it_is_read(policy, changes, said):
    with pytest.raises(ValueError, match=said):
        ruled(small_policy(**policy), **changes)


def with_columns(*columns):
    numbers = {"fill": 0.0, "low": -9.0, "high": 9.0, "mean": 0.0, "spread": 1.0, "weight": 1.0}
    data = small_policy().model_dump()
    for window in data["windows"]:
        at = {"metric": {"at": window["step"]}, "hyperparameter": {}}
        window["columns"] = [{**numbers, **at[column["source"]], **column} for column in columns]
    return Policy.model_validate(data)


def test_a_sweep_that_lacks_a_column_is_refused_when_it_is_planned_by_name(tmp_path):
    metrics = [{"source": "metric", "name": name} for name in ("induction_score.l7h0", "probe_loss", "nonsense")]
    with pytest.raises(StoreError, match=r"does not record induction_score\.l7h0, nonsense$"):
        opened(ruled(with_columns(*metrics)), tmp_path / "a")
    sparse = {"chunk": 10, "probe_steps": [0, 5, 20]}
    with pytest.raises(StoreError, match=r"recorded at step 10, and this sweep records last at step 5: probe_loss$"):
        opened(ruled(small_policy(), grid=sparse), tmp_path / "d")
    reading = next(name for name in recorded_metrics(tiny(), tiny().runs()[0]) if name.startswith("circuits."))
    read = with_columns({"source": "metric", "name": reading})
    assert opened(ruled(read, windows=[0, 0.34, 0.67]), tmp_path / "e").exists()
    with pytest.raises(StoreError, match="records last at step 10"):
        opened(ruled(read, windows=[0, 0.34]), tmp_path / "f")
    with pytest.raises(StoreError, match="does not record circuits"):
        opened(ruled(read, windows=[0, 0.34, 0.67], readings=[]), tmp_path / "g")
    name = {"source": "hyperparameter", "name": "model.name"}
    levels = [{**name, "encoding": "one_hot", "level": level} for level in ("'x'", "'y'")]
    wide = {"source": "hyperparameter", "name": "optimiser.weight_decay", "encoding": "log10"}
    word = {"source": "hyperparameter", "name": "dtype"}
    with pytest.raises(StoreError) as refused:
        opened(ruled(with_columns(*levels, wide, word)), tmp_path / "b")
    for said in ("model.name: the policy knows 'x', 'y', and not", "weight_decay: the policy needs a number above 0"):
        assert said in str(refused.value)
    assert "dtype: the policy needs a number, and not 'float32'" in str(refused.value)
    rate = {"source": "hyperparameter", "name": "optimiser.lr", "encoding": "log10"}
    assert opened(ruled(with_columns(metrics[1], rate)), tmp_path / "c").exists()


def test_doubts_name_settings_that_were_not_calibrated_on_and_a_rule_that_cannot_be_judged():
    rule = RULE.model_copy(update={"control_share": 0.05})
    assert rule.doubts(frozenset(POLICY.settings)) == []
    assert "1 of 2 settings" in rule.doubts(frozenset({"new", POLICY.settings[0]}))[0]
    assert "no run is in control" in RULE.doubts(frozenset(POLICY.settings))[0]
    assert "below" in rule.in_words()
    assert POLICY.content_hash in rule.in_words()


def test_a_policy_without_outcomes_for_runs_that_count_is_refused():
    running = replace(OUTCOMES, kind_R=np.where(np.arange(240) < 3, "censored", OUTCOMES.kind_R))
    with pytest.raises(ValueError, match="no outcome"):
        fit_policy(HISTORY, running, SHARES, promise=Promise(0.05))


def test_the_spec_keeps_the_rule_when_it_is_written_and_read_again():
    spec = ruled(small_policy())
    assert SweepSpec.model_validate(spec.identity()) == spec
