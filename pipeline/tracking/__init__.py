"""The wandb mirror: a process of its own that reads the store and writes runs to wandb. No training waits for it."""
