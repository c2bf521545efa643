"""Claims on Zhao (2023), by subject; sweeps.zhao_2023.claims joins them."""
