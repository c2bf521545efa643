"""How well predictors forecast.

Comes in: a history and its outcomes. Goes out: scores on held-out seeds, by window, with intervals, beside baselines.
"""
