// pipeline/tasks/repeated_sequence.py, sampled in blocks of examples.
#pragma once

#include "tokens.h"

struct Task {
  static constexpr int V = constants::num_tokens, PERIOD = constants::period;
  static constexpr int LENGTH = 2 * PERIOD, SIZE = V, OUTPUTS = V, TARGETS = LENGTH;
  static constexpr bool HAS_ACCURACY = true, HAS_REFERENCE = false;
  using Batch = TokenBatch<LENGTH, TARGETS>;

  static void sample(const Stream* streams, const real*, std::uint32_t first, Batch& batch) {
    draw(streams[constants::stream::data], first, PERIOD, 0, [&](int t, Words w) {
      const Ints token = integers(w, V);
      batch.tokens[t] = batch.tokens[t + PERIOD] = token;
      batch.targets[(t + LENGTH - 1) % LENGTH] = batch.targets[t + PERIOD - 1] = token;
    });
  }

  static Lanes loss(const Lanes* predictions, const Batch& batch, int target, Lanes* slopes) {
    return cross_entropy<OUTPUTS>(predictions, batch.targets[target], slopes);
  }

  static Lanes correct(const Lanes* predictions, const Batch& batch, int target) {
    return is_correct<OUTPUTS>(predictions, batch.targets[target]);
  }

  static Lanes reference_loss(const Batch&) { return Lanes{}; }
};
