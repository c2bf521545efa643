"""Claims of papers, judged.

Input: sweeps by name. Output: for each claim an estimate, its interval, and whether the statement holds.
"""
