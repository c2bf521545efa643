"""The contract of models over the registry, on every task that fits. Whole runs are in test_runs.py."""

from __future__ import annotations

import pytest

from pipeline.contracts.contract import clause_of
from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.models.base import MODELS
from pipeline.tasks.base import TASKS

CASES = {f"{name}, {case.label}": case for name, model in MODELS.items() for case in MODEL_CONTRACT.cases(model)}
# Sizes that take every path of a model.
VARIANTS = {
    "attention_only": [{}, {"num_heads": 2, "num_layers": 3, "head_width": 3}, {"num_layers": 1}],
    "embedded_self_attention": [{"width": 5, "mlp_width": 3}, {"attention": "gradient_step", "step_size": 0.2}],
    "linear_self_attention": [
        {},
        {"num_layers": 2, "num_heads": 2},
        {"num_layers": 3, "is_tied": True},
        {"num_layers": 2, "softmax": "first", "position_width": 4},
        {"num_heads": 2, "softmax": "every"},
        {"num_layers": 2, "mlp_width": 5},
        {"num_layers": 2, "token_limit": 0.3},
    ],
    "merged_softmax_attention": [{}, {"width": 11, "basis": "one_hot"}],
    "transformer": [
        {"width": 6, "mlp_width": 5},
        {"num_heads": 1, "num_layers": 3, "head_width": 3},
        {"num_layers": 1},
    ],
}
# Whose numbers are compared with those of another computation.
OF_EVERY_SIZE = [check for check in MODEL_CONTRACT.checks if clause_of(check) in (6, 7)]


def test_every_model_fits_some_task_and_every_task_some_model():
    pairs = [case.arguments for case in CASES.values()]
    assert {model.name for model, _ in pairs} == set(MODELS)
    assert {task.name for _, task in pairs} == set(TASKS)


@pytest.mark.parametrize("check", MODEL_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_every_model_keeps_its_contract(case, check):
    check(*CASES[case].arguments)


@pytest.mark.parametrize("check", OF_EVERY_SIZE, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_every_model_keeps_its_contract_at_sizes_that_take_every_path(case, check):
    model, task = CASES[case].arguments
    for changes in VARIANTS.get(model.name, []):
        check(model, task, **changes)
