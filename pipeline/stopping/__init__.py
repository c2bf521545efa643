"""Stopping rules, one file each. Input: what one run has recorded so far. Output: whether it ends here."""
