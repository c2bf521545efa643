"""Optimisers.

Input: weights and clipped gradients of all slots, with one hyperparameter value per slot. Output: updated weights.
"""
