"""Kept results of `make landscape`, and the page docs/landscape.md that is made from them."""
