"""What became of each run, and when.

Comes in: a history and a criterion. Goes out: outcomes, cumulative incidence, runs by setting, and parts of histories.
"""
