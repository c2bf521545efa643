"""The hyperparameters of optimisers and learning-rate schedules, without torch; the arithmetic is in `optim`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from pipeline.spec.parameters import Named, vector


class AdamW(Named):
    """Adam with decoupled weight decay; `clip` limits each run's own gradient norm, None never does."""

    name: ClassVar[str] = "adamw"

    lr: float = vector(gt=0)
    beta1: float = vector(0.9, ge=0, lt=1)
    beta2: float = vector(0.999, ge=0, lt=1)
    eps: float = vector(1e-8, gt=0)
    weight_decay: float = vector(0.0, ge=0)
    clip: float | None = vector(None, gt=0)


class SGD(Named):
    """Gradient descent with heavy-ball momentum and decoupled weight decay; `clip` as in AdamW."""

    name: ClassVar[str] = "sgd"

    lr: float = vector(gt=0)
    momentum: float = vector(0.0, ge=0, lt=1)
    weight_decay: float = vector(0.0, ge=0)
    clip: float | None = vector(None, gt=0)


class Constant(Named):
    """lr after a linear warm-up over `warmup_steps`."""

    name: ClassVar[str] = "constant"

    warmup_steps: int = vector(0, ge=0, lt=2**53)


class Decay(Named):
    """Base of schedules that fall to `final_fraction` of lr at step `horizon`, which is theirs, not the budget."""

    warmup_steps: int = vector(0, ge=0, lt=2**53)
    horizon: int = vector(gt=0, lt=2**53)
    final_fraction: float = vector(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _decay_follows_warmup(self) -> Decay:
        if self.warmup_steps >= self.horizon:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be less than horizon ({self.horizon})")
        return self


class Linear(Decay):
    """Falls in a straight line from the end of warm-up to `horizon`."""

    name: ClassVar[str] = "linear"


class Cosine(Decay):
    """Falls along half a cosine from the end of warm-up to `horizon`."""

    name: ClassVar[str] = "cosine"


OPTIMISERS: dict[str, type[Named]] = {cls.name: cls for cls in (AdamW, SGD)}
SCHEDULES: dict[str, type[Named]] = {cls.name: cls for cls in (Constant, Linear, Cosine)}
