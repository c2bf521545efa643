"""Scores of held-out forecasts, under any weights of the runs.

Input: forecasts, outcomes, resamples. Output: figures with intervals.
"""
