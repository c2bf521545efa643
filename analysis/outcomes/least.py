"""How many finished runs a forecast learns from at least, for those who only count them: nothing is imported here."""

from __future__ import annotations

# In all, and of those that converged as of those that did not.
MIN_FINISHED, MIN_OF_EACH = 20, 5
