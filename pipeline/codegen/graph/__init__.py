"""A trace of one example, and the graph of typed nodes that is made of it."""
