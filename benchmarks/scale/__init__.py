"""What sweeps of many runs cost beside their training, what a second core brings, and a simulation of many nodes."""
