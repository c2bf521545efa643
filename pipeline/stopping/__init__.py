"""Stopping rules, one file each. Comes in: what one run has recorded so far. Goes out: whether it ends here."""
