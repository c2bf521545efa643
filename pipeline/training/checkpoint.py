"""The weights of a run as a checkpoint file that Lightning and torch read: tensors and plain values, nothing else."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.metadata import version

import torch
from torch import nn

from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.run_config import RunConfig
from pipeline.store.sweep_store import SweepStore
from pipeline.training.replay import model


def checkpoint(store: SweepStore, run_id: str, step: int) -> bytes:
    """A run's model at `step`: `state_dict`, by its own names, and of a LightningModule `hyper_parameters`.

    `Lit.load_from_checkpoint` reads it where the model is a Lit, and torch.load with weights_only=True in any case, so
    that no code of a file is run. Raises StoreError as `model` does.
    """
    module = model(store, run_id, step)
    config = next(config for config in expand(stored_spec(store)) if config.run_id == run_id)
    return checkpoint_of(module, config, step, {"sweep_id": store.sweep["sweep_id"]})


def checkpoint_of(module: nn.Module, config: RunConfig, step: int, about: Mapping[str, str] | None = None) -> bytes:
    """The same of a module of a run at `step`; `about` is what else to say of its origin."""
    found = {
        "state_dict": {name: value.clone() for name, value in module.state_dict().items()},
        "hyper_parameters": config.model.own_keywords() or config.hyperparameters(),
        "pytorch-lightning_version": version("lightning"),
        "epoch": 0,
        "global_step": step,
        "seedbed": {"run_id": config.run_id, **(about or {}), "step": step},
    }
    stream = io.BytesIO()
    torch.save(found, stream)
    return stream.getvalue()
