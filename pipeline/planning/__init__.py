"""From a spec to packs with stated numerics, and a results folder opened for them.

Input: a `SweepSpec`, and a `Machine` with what was measured on it. Output: a `Plan`, or what differs from the plan
that the folder already has. `make_plan` and `choose` only compute. Nothing here imports torch or measures a speed.
"""
