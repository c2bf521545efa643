"""Reads and validates sweep files.

Input: YAML text and overrides. Output: a validated `SweepSpec`, its settings, seeds, grid and criterion, and the
`RunConfig` of every run with its id, or every mistake of the file at its line. Needs no torch.
"""
