"""The wandb mirror: a separate process that reads the store and writes runs to wandb. No training waits for it."""
