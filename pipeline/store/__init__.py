"""The folder of a sweep, which alone suffices to resume, analyse and report.

Input: commits of packs. Output: the newest whole record of each pack, and histories, snapshots and plans. Needs
numpy and pyarrow alone.
"""
