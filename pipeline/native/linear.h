// pipeline/schedules/linear.py, for one run.
#pragma once

#include "decay.h"

struct Schedule {
  // The factor on lr at update number `step`, apart from that of warm-up.
  static real after_warmup(real step, const Hyperparameters& hyperparameters) {
    return decay(step, hyperparameters, [](real progress) { return 1 - progress; });
  }
};
