"""Training: from a sweep file to a folder of recorded runs.

Comes in: a sweep file. Goes out: a store, which `analysis` reads.
"""
