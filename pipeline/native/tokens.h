// Shared by token tasks: a block of examples, and cross entropy.
#pragma once

#include "philox.h"

template <int LENGTH, int TARGETS>
struct TokenBatch {
  Ints tokens[LENGTH];
  Ints targets[TARGETS];
};

// Losses at one asked position; `slopes`, if wanted, are their derivatives by `predictions`.
template <int CLASSES>
inline Lanes cross_entropy(const Lanes* predictions, Ints target, Lanes* slopes) {
  Lanes most = predictions[0], total{}, chosen{}, e[CLASSES];
  for (int c = 1; c < CLASSES; ++c) most = larger(most, predictions[c]);
  for (int c = 0; c < CLASSES; ++c) e[c] = exp(predictions[c] - most), total += e[c];
  const Mask wanted = __builtin_convertvector(target, Mask);
  const Lanes inverse = 1 / total;
  for (int c = 0; c < CLASSES; ++c) {
    const Mask is_target = wanted == c;
    chosen = is_target ? predictions[c] - most : chosen;
    if (slopes) slopes[c] = e[c] * inverse - (is_target ? lanes(1) : Lanes{});
  }
  return log(total) - chosen;
}

// 1 where the first of the largest predictions is the target's, else 0.
template <int CLASSES>
inline Lanes is_correct(const Lanes* predictions, Ints target) {
  Lanes most = predictions[0];
  Mask best{};
  for (int c = 1; c < CLASSES; ++c) {
    const Mask better = predictions[c] > most;
    most = better ? predictions[c] : most;
    best = better ? Mask{} + c : best;
  }
  return best == __builtin_convertvector(target, Mask) ? lanes(1) : Lanes{};
}
