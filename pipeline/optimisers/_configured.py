"""The optimiser that a LightningModule configures for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.optimisers._grouped import grouped_optimiser
from pipeline.optimisers.base import OPTIMISERS, Optimiser
from pipeline.spec.parameters import vector

if TYPE_CHECKING:
    from pipeline.models.base import Model


class ConfiguredOptimiser(Optimiser):
    """What `configure_optimizers` of the model gives: its `lr` times ours, after clipping to norm `clip`."""

    name = "configured"

    lr: float = vector(1.0, gt=0)

    def for_model(self, model: Model) -> Optimiser:
        """The registered optimiser that equals the model's own; itself where an engine of the model's own asks for it.

        Raises ValueError where there is none.
        """
        if model.own_engine() is not None:
            return self
        asked = model.configuration()
        if asked is None:
            raise ValueError(f"model {model.name} has no configure_optimizers; name an optimiser")
        if asked.by_parameter or asked.adds_decay:
            return grouped_optimiser(asked.optimiser, asked.by_parameter, asked.adds_decay, self.lr, self.clip)
        hyperparameters = {**asked.hyperparameters, "lr": asked.hyperparameters["lr"] * self.lr, "clip": self.clip}
        return OPTIMISERS[asked.optimiser].model_validate(hyperparameters)


def optimiser_class(given: Mapping[str, Any]) -> type[Optimiser]:
    """The class that the name `configured` stands for."""
    return ConfiguredOptimiser
