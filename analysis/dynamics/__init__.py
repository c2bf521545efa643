"""Training dynamics: phase changes, stages, attention similarity, shares of variance by seed, fates of forks.

Input: curves and maps by run. Output: estimates with intervals.
"""
