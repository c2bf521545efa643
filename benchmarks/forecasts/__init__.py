"""Forecasts of convergence: their scores, what more runs and readings add to them, and transfer between tasks."""
