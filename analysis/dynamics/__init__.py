"""Training dynamics: phase changes, stages, attention similarity, shares of variance by seed, fates of forks.

Comes in: curves and maps by run. Goes out: estimates with intervals.
"""
