"""Subcommands that fork the runs of a sweep: ceilings of forecasts, look-aheads and twins."""
