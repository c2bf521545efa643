"""What became of each run, and when.

Input: a history and a criterion. Output: outcomes, cumulative incidence, runs by setting, and parts of histories.
"""
