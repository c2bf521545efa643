"""Synthetic histories with planted truth, as the contracts of statistics and predictors have them."""

from analysis.contracts.synthetic import SYNTHETIC_BUDGET as BUDGET
from analysis.contracts.synthetic import drop_runs, overwrite_after, same_bytes, synthetic_history, tiny_history

__all__ = ["BUDGET", "drop_runs", "overwrite_after", "same_bytes", "synthetic_history", "tiny_history"]
