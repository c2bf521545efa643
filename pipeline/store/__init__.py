"""The folder of a sweep, which alone suffices to resume, analyse and report.

Comes in: commits of packs. Goes out: the newest whole record of each pack, and histories, snapshots and plans. Needs
numpy and pyarrow alone.
"""
