"""Readings: numbers computed from a run's weights at declared steps, batched over slots, in torch.

Input: weights, the run's task and model, and a fixed batch of the statistics set. Output: metric name -> (S,).
"""
