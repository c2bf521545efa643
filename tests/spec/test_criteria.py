"""Criteria beside a sweep's own: declared by name or written out, and no part of what a run or a sweep is."""

import pytest
from pydantic import ValidationError

from pipeline.planning.open_sweep import refuse_changes
from pipeline.spec.criteria.judged_by import JudgedBy, judged_by
from pipeline.spec.criterion import Criterion
from tests.spec.spec_texts import GOOD

FITTED = "criteria={fitted: {metric: train_loss, at_most: 0.1, evaluations: 1}}"
AS_CRITERION = Criterion("train_loss", at_most=0.1, evaluations=1)


def test_other_criteria_change_no_id_and_may_be_added_to_a_sweep_that_has_begun(load, tmp_path):
    before, after = load(GOOD), load(GOOD, FITTED)
    assert after.sweep_id == before.sweep_id
    assert [run.run_id for run in after.runs()] == [run.run_id for run in before.runs()]
    assert "criteria" not in before.identity()
    assert after.identity()["criteria"] == {"fitted": {"metric": "train_loss", "at_most": 0.1, "evaluations": 1}}
    assert load(after.to_yaml()) == after
    refuse_changes(before, after, tmp_path)
    refuse_changes(after, before, tmp_path)


def test_a_criterion_is_found_by_its_name_or_as_it_is_written(load):
    spec = load(GOOD, FITTED)
    own = JudgedBy(spec.criterion, "converged", is_own=True)
    fitted = JudgedBy(AS_CRITERION, "fitted", is_own=False)
    assert judged_by(spec) == judged_by(spec, "converged") == judged_by(spec, str(spec.criterion)) == own
    assert (
        judged_by(spec, "fitted") == judged_by(spec, "train_loss<=0.1") == judged_by(spec, str(AS_CRITERION)) == fitted
    )
    lax = judged_by(spec, " label_accuracy >= 5e-1 at 2 evaluations ")
    assert lax == JudgedBy(
        Criterion("label_accuracy", at_least=0.5, evaluations=2), "label_accuracy-at-least-0.5-times-2", is_own=False
    )
    assert judged_by(spec, "a/../b>=-1").folder == "criterion-a_.._b-at-least--1.0"


@pytest.mark.parametrize("text", ["", "fited", "train_loss", "train_loss<=", "train_loss<=nan", "train_loss<=inf",
                                  "train_loss=0.1", "train_loss<=0.1 twice", "a<=1 at 0 evaluations"])  # fmt: skip
def test_a_text_that_is_no_criterion_is_refused_with_the_names_that_there_are(load, text):
    with pytest.raises(ValueError, match=r"there are: converged, fitted.*such as 'train_loss<=0.1'"):
        judged_by(load(GOOD, FITTED), text)


@pytest.mark.parametrize(
    ("criteria", "place", "said"),
    [
        ("{converged: {metric: train_loss, at_most: 1}}", "criteria.converged", "the sweep's own criterion"),
        ("{Fitted: {metric: train_loss, at_most: 1}}", "criteria.Fitted", "should match pattern"),
        ("{fitted: {metric: train_loss}}", "criteria.fitted", "exactly one of at_most, at_least"),
        ("{fitted: {at_most: 1}}", "criteria.fitted.metric", "required"),
        ("{late: {metric: label_loss, at_most: 1, evaluations: 99}}", "criteria.late.evaluations", "the grid has 12"),
    ],
)
def test_a_mistake_in_a_criterion_is_told_at_its_place(load, criteria, place, said):
    with pytest.raises(ValueError, match=said) as refused:
        load(GOOD, f"criteria={criteria}")
    assert place in str(refused.value)
    assert not isinstance(refused.value, ValidationError)


def test_accuracy_is_refused_in_every_criterion_of_a_task_without_one(load):
    changes = ["task={name: linear_regression}", "model={name: linear_self_attention}", "vary=[]", "streams={}"]
    changes += ["converged={metric: label_loss, at_most: 0.1}"]
    with pytest.raises(ValueError, match=r"criteria\.right\.metric: task linear_regression has no accuracy"):
        load(GOOD, *changes, "criteria={right: {metric: label_accuracy, at_least: 0.9}}")
