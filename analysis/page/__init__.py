"""The page of a sweep: what its browser part reads, and the HTML that holds it.

Input: a history, its outcomes and forecasts. Output: columns of bytes, and one HTML text that loads nothing else.
"""
