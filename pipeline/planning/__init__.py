"""From a spec to packs with stated numerics, and a results folder opened for them. Imports no torch.

Input: a `SweepSpec`, and a `Machine` with what was measured on it. Output: a `Plan`, or what differs from the plan
that the folder already has.
"""
