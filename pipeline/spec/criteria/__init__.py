"""The criteria that a sweep declares beside its own, and those that commands are given."""
