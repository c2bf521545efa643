"""Huang, Cheng and Liang (2024): sweeps, claims, measures and figures."""
