"""Matrix products over slots that round alike in every slot.

A library chooses its kernel by the alignment of a matrix in memory, and kernels round differently: an 11 x 704 by
704 x 11 product gave four results by slot until every slot's result began on a 64-byte boundary. So a batched product
is used only if all slots have the same alignment; otherwise each slot's product is computed separately, into aligned
memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.numerics.alignment import ALIGNMENT_BYTES

_precision: ContextVar[str] = ContextVar("matmul_precision", default="float32")
_is_plain: ContextVar[bool] = ContextVar("is_plain", default=False)


@contextmanager
def plain_products() -> Iterator[None]:
    """Products as torch has them, whose rounding may differ by slot: for those who read which there are."""
    token = _is_plain.set(True)
    try:
        yield
    finally:
        _is_plain.reset(token)


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Compute products of float32 matrices in precision `name`, and restore what torch had before.

    "float32": as float32 does. "tf32": operands lose 13 bits, on GPUs that can, nowhere else. "bf16": operands and
    result are rounded to bfloat16, sums are float32. A gradient has the precision of the product that it belongs to.
    """
    before = _torch_precision()
    token = _precision.set(name)
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        # Otherwise a library may sum in bfloat16 too.
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        yield
    finally:
        _precision.reset(token)
        _restore(before)


class _TorchPrecision(NamedTuple):
    """Torch's precision switches: the old one for all backends, the new one of each, and bfloat16 sums."""

    overall: str
    cuda: str
    mkldnn: str
    allows_bf16_sums: bool


def _torch_precision() -> _TorchPrecision:
    cuda, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    try:
        overall = torch.get_float32_matmul_precision()
    except RuntimeError:
        # Reading the old switch raises if only the new ones were set; it then has its default value.
        overall = "highest"
    return _TorchPrecision(
        overall, cuda.fp32_precision, mkldnn.fp32_precision, cuda.allow_bf16_reduced_precision_reduction
    )


def _restore(before: _TorchPrecision) -> None:
    cuda, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    # The old switch sets the new ones, so it comes first.
    torch.set_float32_matmul_precision(before.overall)
    cuda.fp32_precision, mkldnn.fp32_precision = before.cuda, before.mkldnn
    cuda.allow_bf16_reduced_precision_reduction = before.allows_bf16_sums


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """left (S, ..., n, k) times right (S, ..., k, m), with equal leading axes: (S, ..., n, m), differentiable once."""
    if _is_plain.get():
        return torch.matmul(left, right)
    result: Tensor = _Product.apply(left, right)  # type: ignore[no-untyped-call]
    return result


class _Product(torch.autograd.Function):
    """Differentiable product; its gradients are computed by the same aligned products."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        # On GPUs autograd calls `backward` in other threads, which do not see this thread's context.
        ctx.precision = _precision.get()
        return _multiply(left, right, ctx.precision)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right = ctx.saved_tensors
        (gradient,) = gradients
        needs_left, needs_right = ctx.needs_input_grad
        return (
            _multiply(gradient, right.transpose(-1, -2), ctx.precision) if needs_left else None,
            _multiply(left.transpose(-1, -2), gradient, ctx.precision) if needs_right else None,
        )


def _multiply(left: Tensor, right: Tensor, precision: str) -> Tensor:
    if precision == "bf16" and left.dtype == torch.float32:
        if left.device.type == "cuda":
            return torch.matmul(left.bfloat16(), right.bfloat16()).float()
        return _exactly(left.bfloat16().float(), right.bfloat16().float()).bfloat16().float()
    return _exactly(left, right)


def _exactly(left: Tensor, right: Tensor) -> Tensor:
    shape = (*left.shape[:-1], right.shape[-1])
    if left.device.type != "cpu":
        return torch.matmul(left, right)
    is_alike = _stands_alike(left), _stands_alike(right)
    if all(is_alike) and _fills_lines(shape, left):
        return torch.matmul(left, right)
    out = _aligned(shape, left)
    parts = (_by_itself(operand, alike) for operand, alike in zip((left, right), is_alike, strict=True))
    for slot, (one, other) in enumerate(zip(*parts, strict=True)):
        torch.matmul(one, other, out=out[slot])
    return out


def _fills_lines(shape: tuple[int, ...], like: Tensor) -> bool:
    return math.prod(shape[1:]) * like.element_size() % ALIGNMENT_BYTES == 0


def _stands_alike(operand: Tensor) -> bool:
    """Whether every slot's part of the operand, or of the copy that torch makes of it, has the same alignment."""
    if operand.stride(0) * operand.element_size() % ALIGNMENT_BYTES:
        return False
    is_used_as_it_is = operand.dim() == 3 and 1 in operand.stride()[1:]
    return is_used_as_it_is or _fills_lines(tuple(operand.shape), operand)


def _by_itself(operand: Tensor, stands_alike: bool) -> Iterator[Tensor]:
    """Each slot's part; copied to newly allocated, aligned memory unless all slots have the same alignment."""
    return iter(operand) if stands_alike else (part.clone() for part in operand)


def _aligned(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An uninitialised tensor in which each slot begins on a 64-byte boundary."""
    unit = ALIGNMENT_BYTES // like.element_size()
    size = math.prod(shape[1:])
    rows = like.new_empty(shape[0], math.ceil(size / unit) * unit)
    return rows[:, :size].view(shape)
