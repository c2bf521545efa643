"""The report of a sweep.

Input: an analysis. Output: one HTML file that loads nothing else, with its figures as files beside it.
"""
