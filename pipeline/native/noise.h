// What a model draws for a batch of examples while it trains, with the words of pipeline/models/_module_noise.py: number e
// of a draw is column e of row 0, and the numbers of a batch's examples stand side by side.
#pragma once

#include "draws.h"

// The numbers that four words give.
struct Units {
  void operator()(const FourWords& words, Lanes (&found)[4]) const {
    for (int j = 0; j < 4; ++j) found[j] = unit(words.value[j]);
  }
};

struct Normals {
  void operator()(const FourWords& words, Lanes (&found)[4]) const {
    for (int j = 0; j < 4; j += 2) normals(words.value[j], words.value[j + 1], found[j], found[j + 1]);
  }
};

// `value` where a uniform number is among the first `bound` of 2^23, else 0.
struct Below {
  std::int32_t bound;
  real value;

  void operator()(const FourWords& words, Lanes (&found)[4]) const {
    for (int j = 0; j < 4; ++j) {
      const auto is_below = reinterpret_cast<Ints>(words.value[j] >> 9) < bound;
      found[j] = __builtin_convertvector(is_below, Mask) ? lanes(value) : Lanes{};
    }
  }
};

// Numbers 4 g .. 4 g + 3, 4 g + 4 .. of a draw, where every lane has a g of its own.
template <int GROUPS, typename Numbers>
inline __attribute__((always_inline)) void numbers_at(Words group, const RoundKeys& keys, std::uint32_t step,
                                                      std::uint32_t place, Numbers numbers, Lanes (&found)[GROUPS][4]) {
  Halves c[4][2 * GROUPS];
  for (int g = 0; g < GROUPS; ++g) {
    const Halves groups = reinterpret_cast<Halves>(group + static_cast<std::uint32_t>(g));
    for (int odd = 0; odd < 2; ++odd) {
      const int i = 2 * g + odd;
      c[0][i] = groups >> (32 * odd), c[1][i] = Halves{}, c[2][i] = Halves{} + step, c[3][i] = Halves{} + place;
    }
  }
  rounds<0>(keys, c);
  for (int g = 0; g < GROUPS; ++g) {
    FourWords words;
    for (int w = 0; w < 4; ++w) words.value[w] = joined<0>(c[w][2 * g], c[w][2 * g + 1]);
    numbers(words, found[g]);
  }
}

// One of four numbers, of every lane its own. Those of odd places are not asked for where SIZE is even.
template <int SIZE>
inline Lanes shifted(const Lanes* numbers, Mask by) {
  const Lanes even = by < 2 ? numbers[0] : numbers[2];
  if constexpr (SIZE % 2 == 0) return even;
  const Lanes odd = by < 2 ? numbers[1] : numbers[3];
  return (by & 1) == 0 ? even : odd;
}

// Calls put(number, values) for the PIECES * SIZE numbers of each of the examples first .. first + LANES - 1.
template <int PIECES, int SIZE, typename Numbers, typename Put>
inline void draw_noise(const Stream& stream, int first, std::uint32_t place, Numbers numbers, Put put) {
  const RoundKeys keys(stream.key[0], stream.key[1]);
  constexpr int COUNT = (SIZE + 3) / 4;
  for (int piece = 0; piece < PIECES; ++piece) {
    Words start;
    for (int i = 0; i < LANES; ++i) start[i] = (piece * constants::batch_size + first + i) * SIZE;
    const Words group = start >> 2;
    if constexpr (SIZE % 4 == 0) {
      // While a product of one group is awaited, the other's are computed.
      constexpr int TOGETHER = COUNT % 2 == 0 ? 2 : 1;
#pragma GCC unroll 1
      for (int g = 0; g < COUNT; g += TOGETHER) {
        Lanes found[TOGETHER][4];
        numbers_at(group + static_cast<std::uint32_t>(g), keys, stream.step, place, numbers, found);
        for (int j = 0; j < 4 * TOGETHER; ++j) put(piece * SIZE + 4 * g + j, found[j / 4][j % 4]);
      }
    } else {
      const Mask by = __builtin_convertvector(reinterpret_cast<Ints>(start & 3), Mask);
      Lanes window[2][4];
      auto next = [&](int g) {
        Lanes found[1][4];
        numbers_at(group + static_cast<std::uint32_t>(g), keys, stream.step, place, numbers, found);
        for (int j = 0; j < 4; ++j) window[1][j] = found[0][j];
      };
      next(0);
#pragma GCC unroll 1
      for (int g = 0; g < COUNT; ++g) {
        for (int j = 0; j < 4; ++j) window[0][j] = window[1][j];
        next(g + 1);
        for (int j = 0; j < 4 && 4 * g + j < SIZE; ++j) put(piece * SIZE + 4 * g + j, shifted<SIZE>(&window[0][0] + j, by));
      }
    }
  }
}
