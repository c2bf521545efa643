"""The analysis of one sweep as one object and as text.

Input: a history. Output: outcomes per setting and forecast scores.
"""
