"""A sweep in training, followed from commit to commit."""
