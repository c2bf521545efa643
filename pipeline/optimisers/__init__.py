"""Optimisers.

Comes in: weights and clipped gradients of all slots, with one hyperparameter value per slot. Goes out: updated weights.
"""
