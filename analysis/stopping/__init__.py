"""What stopping runs early saves, and what it loses.

Input: histories of finished sweeps, and their outcomes. Output: run-steps saved and converging runs lost by stopping
rules and by schedulers, with bounds, and policy files.
"""
