"""The sweep from gradient descent to Adam."""

from __future__ import annotations

from sweeps.papers import PaperSweep

EPSILON = "adam_epsilon"
EPSILON_SWEEP = PaperSweep(EPSILON, "landscape/adam/epsilon.yaml", fast=None)
