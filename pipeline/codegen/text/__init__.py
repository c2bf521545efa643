"""The C++ of a planned graph: loops, products, and the headers of models and losses."""
