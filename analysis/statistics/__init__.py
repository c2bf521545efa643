"""Early-training statistics, one file each.

Comes in: the window of a history. Goes out: named columns, one number per run.
"""
