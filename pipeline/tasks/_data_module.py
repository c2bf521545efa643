"""The items of a LightningDataModule as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pipeline.arrays import Array
from pipeline.tasks._arrays import DataError

_BATCH = 1024


def arrays_of_data_module(module: Any, source: str) -> Mapping[str, Array]:
    """`inputs`, `targets` and `split` of the data sets behind its train_dataloader and val_dataloader.

    The items alone are taken: batches, their order and workers are the run's own affair. Raises DataError, with the
    source, for data sets that are no (input, target) pairs, that stream, or that give other numbers the second time.
    """
    module.prepare_data()
    module.setup("fit")
    parts = [_items(module.train_dataloader(), f"{source}: train_dataloader")]
    parts.append(_items(module.val_dataloader(), f"{source}: val_dataloader"))
    split = np.repeat(np.arange(2), [len(targets) for _, targets in parts])
    inputs, targets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return {"inputs": inputs, "targets": targets, "split": split}


def _items(loader: Any, source: str) -> tuple[Array, Array]:
    if not isinstance(loader, DataLoader):
        raise DataError(f"{source} gives {type(loader).__name__}, not one DataLoader")
    items: Dataset[Any] = loader.dataset
    if isinstance(items, IterableDataset):
        raise DataError(f"{source}: its data set streams; give one with a length")
    plain = DataLoader(items, _BATCH, collate_fn=loader.collate_fn)
    with torch.random.fork_rng(devices=[]):
        batches = [_pair(batch, source) for batch in plain]
        again = _pair(next(iter(plain)), source)
    if not all(np.array_equal(*arrays) for arrays in zip(batches[0], again, strict=True)):
        raise DataError(
            f"{source}: its data set gives other numbers the second time; name what changes them in `augment`"
        )
    inputs, targets = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return inputs, targets


def _pair(batch: Any, source: str) -> tuple[Array, Array]:
    if (
        not isinstance(batch, (list, tuple))
        or len(batch) != 2
        or not all(isinstance(one, torch.Tensor) for one in batch)
    ):
        raise DataError(f"{source}: its items are {type(batch).__name__}, not pairs of an input and a target")
    return batch[0].numpy(), batch[1].numpy()
