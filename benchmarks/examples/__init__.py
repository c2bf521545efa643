"""What came of the example sweeps, as docs/data.md shows it."""
