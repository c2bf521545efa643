// pipeline/schedules/cosine.py, for one run.
#pragma once

#include "decay.h"

struct Schedule {
  // The factor on lr at update number `step`, apart from that of warm-up.
  static real after_warmup(real step, const Hyperparameters& hyperparameters) {
    return decay(step, hyperparameters, [](real progress) {
      return static_cast<real>(0.5 * (1 + std::cos(3.141592653589793 * progress)));
    });
  }
};
