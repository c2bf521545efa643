"""Tasks, one file each: a new file here registers the `Task` that it defines.

Input: random streams. Output: batches, per-example losses, and the best reachable loss.
"""
