"""Rows of the book of claims on von Oswald et al. (2023)."""
