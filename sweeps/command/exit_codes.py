"""Exit codes of the command."""

COMPLETE, FAILED, BAD_INPUT, INCOMPLETE = 0, 1, 2, 3
