"""Two arms of runs under the same seeds, compared pair by pair.

Input: the runs of two arms with their histories and outcomes. Output: paired effects on convergence, its time and
final values, with intervals for a sample size that was fixed before and such that hold however often one looks.
"""
