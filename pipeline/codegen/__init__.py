"""Writes the C++ of a model from its torch code: the trace of one example, as a graph, through passes, as text.

Input: a model and the shapes of a task. Output: the text of a `Model` for native/program.cpp, or the reason why not.
"""
