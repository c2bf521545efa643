"""The subcommands about forecasts: made, kept and refreshed; what is attainable; what stopping by them saves."""
