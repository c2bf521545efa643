// pipeline/tasks/sparse_parity.py, sampled in blocks of examples.
#pragma once

#include "tokens.h"

struct Task {
  static constexpr int N = constants::num_bits, RELEVANT = constants::num_relevant;
  static constexpr int LENGTH = N + 1, SIZE = 3, OUTPUTS = 2, TARGETS = 1;
  static constexpr bool HAS_ACCURACY = true, HAS_REFERENCE = false;
  using Batch = TokenBatch<LENGTH, TARGETS>;

  static void sample(const Stream* streams, const real*, std::uint32_t first, Batch& batch) {
    Ints parity{};
    draw(streams[constants::stream::data], first, N, 0, [&](int n, Words w) {
      batch.tokens[n] = integers(w, 2);
      if (n < RELEVANT) parity ^= batch.tokens[n];
    });
    batch.tokens[N] = Ints{} + 2;
    batch.targets[0] = parity;
  }

  static Lanes loss(const Lanes* predictions, const Batch& batch, int target, Lanes* slopes) {
    return cross_entropy<OUTPUTS>(predictions, batch.targets[target], slopes);
  }

  static Lanes correct(const Lanes* predictions, const Batch& batch, int target) {
    return is_correct<OUTPUTS>(predictions, batch.targets[target]);
  }

  static Lanes reference_loss(const Batch&) { return Lanes{}; }
};
