"""What each subcommand of `seedbed` does."""
