"""Schedules without a C++ form."""

from __future__ import annotations

import torch

from pipeline.schedules.base import Schedule
from pipeline.schedules.constant import Constant
from pipeline.schedules.cosine import Cosine
from pipeline.schedules.linear import Linear
from pipeline.spec.parameters import vector


class OwnConstant(Constant):
    """The registered one from its torch code."""

    name = "own_constant"


class OwnCosine(Cosine):
    """Likewise."""

    name = "own_cosine"


class OwnLinear(Linear):
    """Likewise."""

    name = "own_linear"


class OwnInverseSqrt(Schedule):
    """Vaswani et al. (2017), section 5.3."""

    name = "own_inverse_sqrt"

    def after_warmup(self, step_S1, columns):
        end = columns["warmup_steps"] + 1
        return (end / (step_S1 + 1).maximum(end)).sqrt()


class StableThenDecay(Schedule):
    """One up to `switch`, then down to 0 in a straight line: Hu et al. (2024, arXiv 2404.06395), section 4."""

    name = "stable_then_decay"

    # A word of C++.
    switch: int = vector(8, gt=0)
    length: int = vector(10, gt=0)

    def after_warmup(self, step_S1, columns):
        over = (step_S1 - columns["switch"]).clamp(min=0) / columns["length"]
        return torch.where(step_S1 < columns["switch"], 1.0, (1 - over).relu())


class Exponential(Schedule):
    """Falls by the same share every `every` updates."""

    name = "exponential"

    gamma: float = vector(0.7, gt=0, le=1)
    every: int = vector(3, gt=0)

    def after_warmup(self, step_S1, columns):
        since = (step_S1 - columns["warmup_steps"]).clamp(min=0) // columns["every"]
        # Sixteen copies, since powers are not rounded exactly: see Cosine.
        base, power = (one.expand(-1, 16).contiguous() for one in (columns["gamma"], since))
        return (base**power)[:, :1]


class Polynomial(Schedule):
    """Falls to 0 at `end`, by a power of what is left."""

    name = "polynomial"

    end: int = vector(30, gt=0)
    power: float = vector(1.5, gt=0)

    def after_warmup(self, step_S1, columns):
        since, length = step_S1 - columns["warmup_steps"], columns["end"] - columns["warmup_steps"]
        left = 1 - torch.clamp(since / length, 0, 1)
        return torch.exp(columns["power"] * torch.log(left.clamp_min(1e-30)))


class OwnWarmup(Constant):
    """A warm-up of its own: no C++ is written."""

    name = "own_warmup"

    def fraction(self, steps_S, columns):
        return 1 - 0.5 ** (steps_S.unsqueeze(1).to(columns["warmup_steps"].dtype) + 1)
