"""Implementations of the subcommands of `seedbed`."""
