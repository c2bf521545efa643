"""Figures as Vega-Lite charts, SVG and PNG. Input: an analysis, or sweeps by name."""
