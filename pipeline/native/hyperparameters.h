// Hyperparameters and state of one run, as read by an optimiser and a schedule.
#pragma once

#include "lanes.h"

// The run's own hyperparameters, as in hyperparameters[constants::optimiser::beta1].
struct Hyperparameters {
  const real* const* columns;
  int slot;

  real operator[](int index) const { return columns[index][slot]; }
};

// Rows of row_width numbers, and single numbers, in the order of the optimiser's `moments` and `scalars`.
struct OptimiserState {
  real* moments[constants::NUM_MOMENTS + 1];
  real* scalars[constants::NUM_SCALARS + 1];
};
