"""Learning-rate schedules.

Comes in: the update number of each slot, with one hyperparameter value per slot. Goes out: factors on the learning
rate.
"""
