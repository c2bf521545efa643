"""Implementations of the subcommands of `seedbed`.

Input: parsed arguments. Output: printed text, files in a results folder, and the exit code.
"""
