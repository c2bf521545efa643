"""Analysis of recorded sweeps: outcomes, forecasts, training dynamics and claims.

Input: a store's history. Output: estimates with intervals, figures, and a report. Needs no torch.
"""
