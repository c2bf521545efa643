"""Code of the user's own: modules that a sweep file or the command line names, imported and registered.

Input: paths and names of modules. Output: their classes, for the registries, and the files that they consist of.
"""
