"""Contracts of what a user may add to training, clause by clause, and of whole runs made of it.

Input: a class, registered or not. Output: the clauses that it breaks, each with what was found.
"""
