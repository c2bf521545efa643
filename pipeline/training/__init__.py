"""Trains one pack, from its newest commit to its end.

Input: a pack of a plan. Output: commits in the store. Also the same run again, measured more densely (`replay`),
what this machine can compile and how fast it computes (`calibration`), and what a plan costs (`cost`).
"""
