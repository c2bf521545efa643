"""Estimates with 95% intervals.

Comes in: one value per run, and which runs share seeds. Goes out: means, shares and medians, resampled by groups of
runs that depend on one another.
"""
