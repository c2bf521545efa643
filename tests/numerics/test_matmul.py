"""Products in bfloat16, asked for by the sweep file: what they round, and that they are part of the numerics."""

from __future__ import annotations

import torch

from pipeline.launch.planned import plan_on
from pipeline.numerics.matmul import matmul, matmul_precision
from pipeline.planning.packs import Machine
from tests.support import tiny, trained, weights


def test_operands_and_result_are_rounded_to_bfloat16_and_sums_are_not():
    with matmul_precision("bf16"):
        # 1 + 2^-9 is not a bfloat16, and neither is 257; 256 ones and a one are summed exactly before they are rounded.
        assert matmul(torch.tensor([[[1 + 2.0**-9]]]), torch.ones(1, 1, 1)).item() == 1.0
        assert matmul(torch.ones(1, 1, 257), torch.ones(1, 257, 1)).item() == 256.0
        assert matmul(torch.ones(1, 1, 258), torch.ones(1, 258, 1)).item() == 258.0
    assert matmul(torch.tensor([[[1 + 2.0**-9]]]), torch.ones(1, 1, 1)).item() == 1 + 2.0**-9


def test_a_gradient_has_the_precision_of_its_product_wherever_it_is_taken():
    left = torch.tensor([[[1 + 2.0**-9]]], requires_grad=True)
    with matmul_precision("bf16"):
        coarse = matmul(torch.ones(1, 1, 1), left)
    exact = matmul(torch.ones(1, 1, 1), left)
    factor = torch.tensor([[[1 + 2.0**-9]]])
    assert torch.autograd.grad(coarse, left, factor)[0].item() == 1.0
    with matmul_precision("bf16"):
        assert torch.autograd.grad(exact, left, factor)[0].item() == 1 + 2.0**-9


def test_double_precision_is_left_alone():
    left = torch.tensor([[[1 + 2.0**-40]]], dtype=torch.float64)
    with matmul_precision("bf16"):
        assert matmul(left, torch.ones(1, 1, 1, dtype=torch.float64)).item() == 1 + 2.0**-40


def test_the_rule_holds_under_bfloat16_too_and_the_numerics_say_so(tmp_path):
    coarse = {"matmul_precision": "bf16", "engine": "auto"}
    pack = plan_on(tiny(resources={**coarse, "slots": 4}), Machine.cpu(1)).packs[0]
    assert (pack.numerics.matmul_precision, pack.numerics.engine) == ("bf16", "torch")
    wide = trained(tiny(resources={**coarse, "slots": 4}), tmp_path / "a")
    narrow = trained(tiny(resources={**coarse, "slots": 2}), tmp_path / "b")
    exact = trained(tiny(), tmp_path / "c")
    assert weights(wide) == weights(narrow)
    assert all(weights(wide)[run] != weights(exact)[run] for run in weights(exact))
