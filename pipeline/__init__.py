"""Training: from a sweep file to a folder of recorded runs.

Input: a sweep file. Output: a store, which `analysis` reads.
"""
