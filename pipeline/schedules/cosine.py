"""Cosine decay of the learning rate: Loshchilov and Hutter (2017, arXiv 1608.03983), eq. 5, without restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.schedules._decay import Decay

if TYPE_CHECKING:
    from torch import Tensor


class Cosine(Decay):
    """Falls along half a cosine from the end of warm-up to `horizon`."""

    name = "cosine"

    def shape(self, progress_S1: Tensor) -> Tensor:
        """(1 + cos(pi progress)) / 2."""
        import torch

        # IEEE 754 does not specify the rounding of cos: sixteen copies keep every slot in the vector part of the loop.
        return 0.5 * (1 + torch.cos(torch.pi * progress_S1.expand(-1, 16).contiguous())[:, :1])
