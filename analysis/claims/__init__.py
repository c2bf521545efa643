"""Claims of papers, judged.

Comes in: sweeps by name. Goes out: for each claim an estimate, its interval, and whether the statement holds.
"""
