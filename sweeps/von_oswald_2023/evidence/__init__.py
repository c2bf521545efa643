"""Measures of the claims on von Oswald et al. (2023): from sweeps to an estimate with its interval."""
