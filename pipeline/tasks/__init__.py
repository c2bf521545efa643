"""Tasks, one file each: a file dropped in here registers the `Task` that it defines.

Comes in: random streams. Goes out: batches, per-example losses, and the best reachable loss.
"""
