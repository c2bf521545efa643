"""Figures as Vega-Lite charts, SVG and PNG. Comes in: an analysis, or sweeps by name."""
