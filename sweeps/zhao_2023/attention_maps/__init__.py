"""Attention maps of runs on Zhao (2023): how alike they are, by query, model and depth, and of single runs."""
