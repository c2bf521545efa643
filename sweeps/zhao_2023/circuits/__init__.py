"""Circuits of trained models on Zhao (2023): what is measured on their weights, and what claims read of it."""
