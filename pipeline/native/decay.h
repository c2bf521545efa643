// pipeline/schedules/_decay.py, for one run.
#pragma once

#include <algorithm>

#include "hyperparameters.h"

// shape(progress) falls from 1 at 0 to 0 at 1.
template <typename Shape>
real decay(real step, const Hyperparameters& hyperparameters, Shape shape) {
  namespace its = constants::schedule;
  const real warmup = hyperparameters[its::warmup_steps], last = hyperparameters[its::final_fraction], one = 1;
  const real length = std::max(hyperparameters[its::horizon] - warmup, one);
  const real progress = std::min(std::max((step - warmup) / length, real{}), one);
  return last + (one - last) * shape(progress);
}
