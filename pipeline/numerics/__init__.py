"""Arithmetic whose rounding is the same in every slot.

Counter-based random streams, batched matrix products, activations, aligned rows, and the compiler that turns the C++ of
`pipeline/native` into libraries. Input: seeds, tensors of all slots, C++ sources. Output: draws, results, libraries.
"""
