"""The weights that a sweep's runs kept, by name, for what papers measure on trained models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.engine.parameter_layout import Layout
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.run_config import RunConfig
from pipeline.store.sweep_store import SweepStore


def kept_weights(store: SweepStore) -> Iterator[tuple[RunConfig, int, dict[str, Tensor]]]:
    """Every run at every step at which its weights were kept: parameters by name, (rows, columns) each, in float64."""
    snapshots = store.snapshots()
    for config in expand(stored_spec(store)):
        layout = Layout(config.model.parameter_specs(config.task.shape()), torch.float64)
        for step in snapshots.weight_steps(config.run_id):
            weights = torch.from_numpy(np.array(snapshots.weights(config.run_id, step))).double()
            views = layout.views(layout.expand(weights).unsqueeze(0))
            yield config, step, {name: value[0] for name, value in views.items()}
