"""Files that `seedbed new` copies: one of each kind that a user may add, whole and working.

Input: nothing. Output: files of Python and YAML, which the tests hold to the contracts and train.
"""
