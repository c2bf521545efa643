"""Contracts of statistics and predictors, clause by clause, over histories with planted truth.

Input: a class, registered or not. Output: the clauses that it breaks, each with what was found.
"""
