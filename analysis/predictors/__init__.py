"""Predictors, one file each.

Input: statistics, hyperparameters and outcomes of training runs. Output: forecasts for others.
"""
