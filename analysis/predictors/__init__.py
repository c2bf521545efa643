"""Predictors, one file each.

Comes in: statistics, hyperparameters and outcomes of training runs. Goes out: forecasts for others.
"""
