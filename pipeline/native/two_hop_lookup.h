// pipeline/tasks/two_hop_lookup.py, sampled in blocks of examples.
#pragma once

#include "tokens.h"

struct Task {
  static constexpr int K = constants::num_keys, V = constants::num_values;
  static constexpr int LENGTH = 4 * K + 1, SIZE = 2 * K + V, OUTPUTS = V, TARGETS = 1;
  static constexpr bool HAS_ACCURACY = true, HAS_REFERENCE = false;
  using Batch = TokenBatch<LENGTH, TARGETS>;

  static void sample(const Stream* streams, const real*, std::uint32_t first, Batch& batch) {
    const Stream& data = streams[constants::stream::data];
    Ints keys[K], middles[K], order[K], map[K], place, kind;
    permute(data, first, 0, keys), permute(data, first, 1, middles), permute(data, first, 2, order);
    draw(data, first, K, 3, [&](int k, Words w) { map[k] = integers(w, V); });
    draw(data, first, 1, 4, [&](int, Words w) { place = integers(w, K); });
    draw(data, first, 1, 5, [&](int, Words w) { kind = integers(w, 1u << 31); });
    for (int k = 0; k < K; ++k) {
      batch.tokens[2 * k] = keys[k];
      batch.tokens[2 * k + 1] = middles[k] + K;
      batch.tokens[2 * (K + k)] = order[k] + K;
      batch.tokens[2 * (K + k) + 1] = at(map, order[k]) + 2 * K;
    }
    const Ints middle = at(middles, place);
    batch.tokens[4 * K] = kind < static_cast<int>(constants::num_one_hop_words) ? middle + K : at(keys, place);
    batch.targets[0] = at(map, middle);
  }

  // 0 .. K - 1 in the order of as many random words, equal ones by place.
  static void permute(const Stream& data, std::uint32_t first, std::uint32_t lane, Ints* found) {
    Ints words[K], rank[K] = {};
    draw(data, first, K, lane, [&](int k, Words w) { words[k] = integers(w, 1u << 31); });
    for (int k = 0; k < K; ++k)
      for (int other = 0; other < K; ++other)
        rank[k] -= other < k ? words[other] <= words[k] : words[other] < words[k];
    for (int place = 0; place < K; ++place) {
      found[place] = Ints{};
      for (int k = 0; k < K; ++k) found[place] = rank[k] == place ? Ints{} + k : found[place];
    }
  }

  static Ints at(const Ints* list, Ints place) {
    Ints found{};
    for (int k = 0; k < K; ++k) found = place == k ? list[k] : found;
    return found;
  }

  static Lanes loss(const Lanes* predictions, const Batch& batch, int target, Lanes* slopes) {
    return cross_entropy<OUTPUTS>(predictions, batch.targets[target], slopes);
  }

  static Lanes correct(const Lanes* predictions, const Batch& batch, int target) {
    return is_correct<OUTPUTS>(predictions, batch.targets[target]);
  }

  static Lanes reference_loss(const Batch&) { return Lanes{}; }
};
