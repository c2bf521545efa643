"""Trains all packs of a plan, as Ray Tune trials on the available devices or one after another in this process.

Input: a spec, for what this machine can do (`planned`), then a results folder. Output: commits of every pack, and
which packs failed.
"""
