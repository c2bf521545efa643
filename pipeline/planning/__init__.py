"""From a spec and a machine to packs with stated numerics, and a results folder opened for them.

Comes in: a `SweepSpec`. Goes out: a `Plan`, or what differs from the plan that the folder already has.
"""
