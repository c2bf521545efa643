"""Faults injected into the real command: failing calls, kills, signals and damaged files. `run.py` runs them all."""
