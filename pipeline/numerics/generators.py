"""Generators that are no stream of a run: torch's own, numpy's and Python's. A run draws from none of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator_states(device: torch.device | None = None) -> tuple[object, ...]:
    """The states of the generators that code of a user's own may draw from; of torch's on the CPU, and on `device`."""
    name, words, *rest = np.random.get_state()
    offset = 0
    # Torch gives no offset while steps are recorded; the step was run before, and looked at then.
    if device is not None and device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        offset = torch.cuda.default_generators[device.index or 0].get_offset()
    return (
        torch.default_generator.get_state().numpy().tobytes(),
        offset,
        random.getstate(),
        (name, np.asarray(words).tobytes(), *rest),
    )


@contextmanager
def nothing_drawn(told: str, device: torch.device | None = None) -> Iterator[None]:
    """Raises RuntimeError with what is `told` where what is done in it draws from one of these generators."""
    before = generator_states(device)
    yield
    if generator_states(device) != before:
        raise RuntimeError(told)
