"""Ordinary torch modules, as people write them, that no part of the engine was tuned for."""
