"""A text that every Python has: its own documentation, the topics of `help()`, character by character."""

from __future__ import annotations

from pydoc_data.topics import topics

import numpy as np

from pipeline.arrays import Array

_NUM_CHARACTERS = 120_000


def python_topics() -> dict[str, Array]:
    """`inputs` (120000,): the first characters of the topics as numbers, those that are rare and not ASCII as one."""
    text = "\n".join(topics[name] for name in sorted(topics))[:_NUM_CHARACTERS]
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    # Numbered by how often they occur, equally frequent ones by code.
    counts = np.bincount(codes, minlength=128)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return {"inputs": rank[codes]}
