"""How well predictors forecast.

Input: a history and its outcomes. Output: scores on held-out seeds, by window, with intervals, beside baselines.
"""
