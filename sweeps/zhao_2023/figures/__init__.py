"""Figures on Zhao (2023): functions of the sweeps to a Figure."""
