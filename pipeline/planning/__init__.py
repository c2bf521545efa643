"""From a spec to packs with stated numerics, and a results folder opened for them. Computes only; no torch.

Comes in: a `SweepSpec`, and a `Machine` with what was measured on it. Goes out: a `Plan`, or what differs from the plan
that the folder already has.
"""
