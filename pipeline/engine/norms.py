"""Norms of the rows of a block, and clipping of gradients to them."""

from __future__ import annotations

from torch import Tensor


def norm(rows_SP: Tensor) -> Tensor:
    """Euclidean norm of each row, (S,)."""
    return rows_SP.square().sum(1).sqrt_()


def clip(grad_SP: Tensor, norm_S: Tensor, limit_S1: Tensor) -> None:
    """Scale each row in place to at most `limit_S1` (infinite: never), as torch's clip_grad_norm_ does for one run."""
    grad_SP.mul_((limit_S1 / (norm_S.unsqueeze(1) + 1e-6)).clamp_(max=1.0))
