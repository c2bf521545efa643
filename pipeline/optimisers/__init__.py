"""Optimisers and learning-rate schedules.

Comes in: weights and gradients of all slots, with one hyperparameter value per slot. Goes out: updated weights.
"""
