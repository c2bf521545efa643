"""Learning-rate schedules.

Input: the update number of each slot, with one hyperparameter value per slot. Output: factors on the learning
rate.
"""
