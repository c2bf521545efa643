"""The wandb mirror: a separate process, which no training waits for.

Input: the store of a sweep, while it is trained or later. Output: wandb runs, and a ledger of what was written.
"""
