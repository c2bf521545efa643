"""Workers without a driver: any number of processes, on any machines, that share the packs of one results folder.

Input: a planned results folder. Output: commits in its store, and a document for each worker that is at work.
"""
