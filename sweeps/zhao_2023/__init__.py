"""Zhao (2023): sweeps, claims, measures and figures."""
