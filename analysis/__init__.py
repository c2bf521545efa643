"""Analysis of recorded sweeps: outcomes, forecasts, training dynamics and claims.

Comes in: a store's history. Goes out: estimates with intervals, figures, and a report. Needs no torch.
"""
