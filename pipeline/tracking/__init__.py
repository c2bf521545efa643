"""The wandb mirror: a separate process, which no training waits for, and the dashboards of what it writes.

Input: the store of a sweep, while it is trained or later. Output: wandb runs, a ledger of what was written, workspaces
and reports.
"""
