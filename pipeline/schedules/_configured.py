"""The learning-rate schedule that a LightningModule configures for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from pipeline.schedules.base import Schedule

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.base import Model
    from pipeline.schedules.base import ScheduleColumns

_FIRST_SIZE = 1024


class ConfiguredSchedule(Schedule):
    """The factors on lr of the scheduler in the model's `configure_optimizers`, 1 where it has none.

    They are tabulated by the scheduler itself, as far as steps are asked for.
    """

    name = "configured"

    _model: Model | None = PrivateAttr(None)

    def for_model(self, model: Model) -> Schedule:
        """A copy that asks this model. Raises ValueError where its scheduler cannot be tabulated."""
        copy = self.model_copy()
        copy._model = model
        model.lr_factors(_FIRST_SIZE)
        return copy

    def num_updates(self) -> int | None:
        """Those of the model's scheduler, where it refuses to be stepped beyond its end."""
        assert self._model is not None, "it needs a model"
        return self._model.num_lr_factors()

    def after_warmup(self, step_S1: Tensor, columns: ScheduleColumns) -> Tensor:
        """(S, 1): the factors at these steps."""
        import torch

        assert self._model is not None, "it needs a model"
        # Sizes double, so that a long run asks for few tables.
        size = max(_FIRST_SIZE, 1 << int(step_S1.max()).bit_length())
        factors_T = self._model.lr_factors(size)
        if factors_T is None:
            return torch.ones_like(step_S1)
        return torch.from_numpy(factors_T).to(step_S1)[step_S1.long()]


def schedule_class(given: Mapping[str, Any]) -> type[Schedule]:
    """The class that the name `configured` stands for."""
    return ConfiguredSchedule
