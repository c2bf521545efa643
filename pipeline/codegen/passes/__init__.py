"""What is done to a graph before it is written: sums over examples moved, what nobody reads dropped, memory shared."""
