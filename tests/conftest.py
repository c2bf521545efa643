"""What all tests share: one thread for torch, and no surprise from the environment."""

from __future__ import annotations

import os
import warnings

import pytest

# Before torch or Ray are imported anywhere.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("RAY_ADDRESS", None)
os.environ["WANDB_MODE"] = "offline"


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # Lightning's own: it goes when Lightning stops using torch's LeafSpec.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        yield
