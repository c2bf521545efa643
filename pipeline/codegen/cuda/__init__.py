"""The C++ of models and losses as CUDA: one run a block of threads, one example a thread."""
