// pipeline/tasks/pair_lookup.py, sampled in blocks of examples.
#pragma once

#include "tokens.h"

struct Task {
  static constexpr int K = constants::num_keys, V = constants::num_values, N = constants::num_pairs;
  static constexpr int LENGTH = N + 1, SIZE = K + K * V, OUTPUTS = V, TARGETS = 1;
  static constexpr bool HAS_ACCURACY = true, HAS_REFERENCE = false;
  using Batch = TokenBatch<LENGTH, TARGETS>;

  static void sample(const Stream* streams, const real*, std::uint32_t first, Batch& batch) {
    Ints map[K], keys[N], place;
    draw(streams[constants::stream::data], first, N, 0, [&](int n, Words w) { keys[n] = integers(w, K); });
    draw(streams[constants::stream::data], first, K, 1, [&](int k, Words w) { map[k] = integers(w, V); });
    draw(streams[constants::stream::data], first, 1, 2, [&](int, Words w) { place = integers(w, N); });
    Ints query{};
    for (int n = 0; n < N; ++n) query = place == n ? keys[n] : query;
    for (int n = 0; n < N; ++n) batch.tokens[n] = keys[n] * V + value_of(map, keys[n]) + K;
    batch.tokens[N] = query;
    batch.targets[0] = value_of(map, query);
  }

  static Ints value_of(const Ints* map, Ints key) {
    Ints value{};
    for (int k = 0; k < K; ++k) value = key == k ? map[k] : value;
    return value;
  }

  static Lanes loss(const Lanes* predictions, const Batch& batch, int target, Lanes* slopes) {
    return cross_entropy<OUTPUTS>(predictions, batch.targets[target], slopes);
  }

  static Lanes correct(const Lanes* predictions, const Batch& batch, int target) {
    return is_correct<OUTPUTS>(predictions, batch.targets[target]);
  }

  static Lanes reference_loss(const Batch&) { return Lanes{}; }
};
