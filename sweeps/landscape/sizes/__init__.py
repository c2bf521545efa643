"""Widths, head widths and learning rates: how the spread of log time scales, and where half of the runs converge."""
