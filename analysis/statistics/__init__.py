"""Early-training statistics, one file each.

Input: the window of a history. Output: named columns, one number per run.
"""
