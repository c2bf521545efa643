"""The forecast benchmark: a predictor, fitted to training seeds, is scored on frozen test seeds and other tasks.

Input: histories and outcomes of the benchmark's sweeps, and a predictor. Output: rows of scores with intervals.
"""
