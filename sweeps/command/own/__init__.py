"""Commands for code of one's own: written, held to its contract, shown, and allowed to run."""
