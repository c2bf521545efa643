"""Sweeps on data of one's own: `*.yaml` beside the modules that they import."""
