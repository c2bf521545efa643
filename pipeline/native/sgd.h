// pipeline/optimisers/sgd.py, for one run.
#pragma once

#include "hyperparameters.h"

struct Optimiser {
  // One step from `gradient` times `scale`; `lr` is that after the schedule.
  static void update(real* weights, const real* gradient, real scale, real lr, const OptimiserState& state,
                     const Hyperparameters& hyperparameters) {
    namespace its = constants::optimiser;
    real* velocity = state.moments[0];
    const real kept = 1 - lr * hyperparameters[its::weight_decay], momentum = hyperparameters[its::momentum];
    for (int i = 0; i < constants::row_width; ++i) {
      velocity[i] = momentum * velocity[i] + gradient[i] * scale;
      weights[i] = weights[i] * kept - lr * velocity[i];
    }
  }
};
