"""Exit codes of the command."""

COMPLETE, FAILED, BAD_INPUT, INCOMPLETE = 0, 1, 2, 3
# By a second Ctrl-C, as shells have it.
INTERRUPTED = 130
