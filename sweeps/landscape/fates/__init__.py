"""Fates in training: from which step on a run's time is fixed, and by which of its matrices."""
