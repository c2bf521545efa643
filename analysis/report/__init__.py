"""The report of a sweep: one HTML file that loads nothing else. Input: an analysis."""
