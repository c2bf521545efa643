"""Models, one file each: a file dropped in here registers the `Model` that it defines, or the torch module it wraps.

Comes in: parameters and inputs of all slots. Goes out: predictions and attention.
"""
