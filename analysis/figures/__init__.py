"""Figures of analyses and of claims.

Input: an analysis, or sweeps by name. Output: Vega-Lite charts, SVG and PNG.
"""
