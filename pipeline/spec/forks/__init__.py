"""Changes that only forks can have."""
