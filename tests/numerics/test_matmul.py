"""Products in bfloat16, asked for by the sweep file: what they round, and that they are part of the numerics."""

from __future__ import annotations

import pytest
import torch

from pipeline.launch.planned import plan_on
from pipeline.numerics.matmul import product, set_rounding
from pipeline.planning.packs import Machine
from tests.support import tiny, trained, weights


@pytest.fixture(autouse=True)
def _exact_afterwards():
    yield
    set_rounding("float32")


def test_operands_and_result_are_rounded_to_bfloat16_and_sums_are_not():
    set_rounding("bf16")
    # 1 + 2^-9 is not a bfloat16, and neither is 257; 256 ones and a one are summed exactly before they are rounded.
    assert product(torch.tensor([[[1 + 2.0**-9]]]), torch.ones(1, 1, 1)).item() == 1.0
    assert product(torch.ones(1, 1, 257), torch.ones(1, 257, 1)).item() == 256.0
    assert product(torch.ones(1, 1, 258), torch.ones(1, 258, 1)).item() == 258.0
    set_rounding("float32")
    assert product(torch.tensor([[[1 + 2.0**-9]]]), torch.ones(1, 1, 1)).item() == 1 + 2.0**-9


def test_double_precision_is_left_alone():
    set_rounding("bf16")
    left = torch.tensor([[[1 + 2.0**-40]]], dtype=torch.float64)
    assert product(left, torch.ones(1, 1, 1, dtype=torch.float64)).item() == 1 + 2.0**-40


def test_the_rule_holds_under_bfloat16_too_and_the_numerics_say_so(tmp_path):
    coarse = {"products": "bf16", "mode": "auto"}
    pack = plan_on(tiny(resources={**coarse, "width": 4}), Machine.cpu(1)).packs[0]
    assert (pack.numerics.products, pack.numerics.mode) == ("bf16", "eager")
    wide = trained(tiny(resources={**coarse, "width": 4}), tmp_path / "a")
    narrow = trained(tiny(resources={**coarse, "width": 2}), tmp_path / "b")
    exact = trained(tiny(), tmp_path / "c")
    assert weights(wide) == weights(narrow)
    assert all(weights(wide)[run] != weights(exact)[run] for run in weights(exact))
