"""The `seedbed` command: subcommands and their options; each runs a file of `sweeps/command/`, imported on demand."""
