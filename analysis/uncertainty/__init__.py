"""Estimates with 95% intervals.

Input: one value per run, and which runs share seeds. Output: means, shares and medians, resampled by groups of
runs that depend on one another.
"""
