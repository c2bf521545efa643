"""Figures on von Oswald et al. (2023): functions of the sweeps to a Figure."""
