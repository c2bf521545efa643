"""Models, one file each: a new file here registers the `Model` that it defines, or the torch module it wraps.

Input: parameters and inputs of all slots. Output: predictions and attention.
"""
