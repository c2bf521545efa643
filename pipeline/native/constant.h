// pipeline/schedules/constant.py, for one run.
#pragma once

#include "hyperparameters.h"

struct Schedule {
  // The factor on lr at update number `step`, apart from that of warm-up.
  static real after_warmup(real, const Hyperparameters&) { return 1; }
};
