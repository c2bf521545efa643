// pipeline/optimisers/adamw.py, for one run.
#pragma once

#include "hyperparameters.h"

struct Optimiser {
  // One step from `gradient` times `scale`; `lr` is that after the schedule.
  static void update(real* weights, const real* gradient, real scale, real lr, const OptimiserState& state,
                     const Hyperparameters& hyperparameters) {
    namespace its = constants::optimiser;
    real *first = state.moments[0], *second = state.moments[1];
    const real kept = 1 - lr * hyperparameters[its::weight_decay];
    const real beta1 = hyperparameters[its::beta1], beta2 = hyperparameters[its::beta2];
    const real eps = hyperparameters[its::eps];
    const real one = 1, step = lr / (one - (*state.scalars[0] *= beta1));
    const real correction = one / (one - (*state.scalars[1] *= beta2));
    for (int i = 0; i < constants::row_width; ++i) {
      const real g = gradient[i] * scale;
      first[i] = beta1 * first[i] + (one - beta1) * g;
      second[i] = beta2 * second[i] + (one - beta2) * g * g;
      weights[i] = weights[i] * kept - step * first[i] / (std::sqrt(second[i] * correction) + eps);
    }
  }
};
