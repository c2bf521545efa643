// pipeline/tasks/modular_addition.py, sampled in blocks of examples.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>

#include "tokens.h"

struct Task {
  static constexpr int P = constants::modulus;
  static constexpr int LENGTH = 3, SIZE = P + 1, OUTPUTS = P, TARGETS = 1;
  static constexpr bool HAS_ACCURACY = true, HAS_REFERENCE = false;
  using Batch = TokenBatch<LENGTH, TARGETS>;

  static void sample(const Stream* streams, const real*, std::uint32_t first, Batch& batch) {
    const Stream& data = streams[constants::stream::data];
    int begin = 0, count = constants::num_train;
    if (is_of(data, constants::label_key0, constants::label_key1))
      begin = constants::num_train, count = constants::num_label;
    if (is_of(data, constants::probe_key0, constants::probe_key1))
      begin = constants::num_train + constants::num_label, count = constants::num_probe;
    Ints place, pair;
    draw(data, first, 1, 0, [&](int, Words w) { place = integers(w, count) + begin; });
    for (int i = 0; i < LANES; ++i) pair[i] = order()[place[i]];
    batch.tokens[0] = pair / P, batch.tokens[1] = pair % P, batch.tokens[2] = Ints{} + P;
    batch.targets[0] = (batch.tokens[0] + batch.tokens[1]) % P;
  }

  static bool is_of(const Stream& stream, long key0, long key1) {
    return stream.key[0] == static_cast<std::uint32_t>(key0) && stream.key[1] == static_cast<std::uint32_t>(key1);
  }

  // The pairs P a + b, in the order of as many random words, equal ones by pair.
  static const std::array<int, P * P>& order() {
    static const std::array<int, P * P> pairs = [] {
      const Stream split{{static_cast<std::uint32_t>(constants::split_key0),
                          static_cast<std::uint32_t>(constants::split_key1)}, 0};
      std::array<int, P * P> word, found;
      draw(split, 0, P * P, 0, [&](int pair, Words w) { word[pair] = integers(w, 1u << 31)[0]; });
      std::iota(found.begin(), found.end(), 0);
      std::stable_sort(found.begin(), found.end(), [&](int a, int b) { return word[a] < word[b]; });
      return found;
    }();
    return pairs;
  }

  static Lanes loss(const Lanes* predictions, const Batch& batch, int target, Lanes* slopes) {
    return cross_entropy<OUTPUTS>(predictions, batch.targets[target], slopes);
  }

  static Lanes correct(const Lanes* predictions, const Batch& batch, int target) {
    return is_correct<OUTPUTS>(predictions, batch.targets[target]);
  }

  static Lanes reference_loss(const Batch&) { return Lanes{}; }
};
