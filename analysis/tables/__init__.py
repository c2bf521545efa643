"""Tables of a sweep for other tools.

Input: the store of a sweep. Output: Arrow tables of its runs and of what they recorded, data frames, and files.
"""
