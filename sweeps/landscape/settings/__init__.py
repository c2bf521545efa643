"""Factorials of initial matrices in other settings: a larger dictionary, narrow heads, one layer, linear attention."""
