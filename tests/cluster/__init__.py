"""Ray processes killed, computers lost and ports tried, on one host; `python -m tests.cluster.run` runs all of it."""
