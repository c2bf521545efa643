"""The report of a sweep: one HTML file that loads nothing else. Comes in: an analysis."""
