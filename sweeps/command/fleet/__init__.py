"""`seedbed work`, and what `seedbed status` shows of the workers that are at it."""
