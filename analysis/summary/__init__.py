"""The analysis of one sweep as one object and as text.

Comes in: a history. Goes out: outcomes per setting and forecast scores.
"""
