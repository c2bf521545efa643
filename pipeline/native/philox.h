// Philox4x32-10 (Salmon et al. 2011) on vectors of counters, with the words of pipeline/numerics/streams.py.
#pragma once

#include "lanes.h"

struct Stream {
  std::uint32_t key[2];
  std::uint32_t step;
};

struct FourWords {
  Words value[4];
};

// Every other word, in the low half of 64 bits, as processors multiply them; the high halves hold anything. Even and odd
// words are two such vectors.
typedef std::uint64_t Halves __attribute__((vector_size(sizeof(Words))));
constexpr std::uint32_t MULTIPLIERS[] = {0xD2511F53u, 0xCD9E8D57u}, WEYL[] = {0x9E3779B9u, 0xBB67AE85u};

// A vector's bytes as other elements.
template <typename Element, typename Vector>
struct Seen {
  typedef Element as __attribute__((vector_size(sizeof(Vector))));
};

// The products of low halves, by the instruction that processors have for them.
template <typename Vector>
inline Vector product_of(Vector a, std::uint32_t by) {
  using Pairs = typename Seen<int, Vector>::as;
  [[maybe_unused]] const auto x = (Pairs)a, y = (Pairs)(Vector{} + by);
#if defined(__AVX512F__) && __has_builtin(__builtin_ia32_pmuludq512_mask)
  if constexpr (sizeof(Vector) == 64) return (Vector)__builtin_ia32_pmuludq512_mask(x, y, typename Seen<long long, Vector>::as{}, -1);
#endif
#if defined(__AVX2__) && __has_builtin(__builtin_ia32_pmuludq256)
  if constexpr (sizeof(Vector) == 32) return (Vector)__builtin_ia32_pmuludq256(x, y);
#endif
#if defined(__SSE2__) && __has_builtin(__builtin_ia32_pmuludq128)
  if constexpr (sizeof(Vector) == 16) return (Vector)__builtin_ia32_pmuludq128(x, y);
#endif
  return (a & 0xFFFFFFFFu) * by;
}

// Words in their order, of the low halves of even and odd ones (HALF 0) or of the high halves (1).
template <int HALF>
inline Words joined(Halves even, Halves odd) {
  Ints places;
  for (int i = 0; i < LANES; ++i) places[i] = i / 2 * 2 + HALF + i % 2 * LANES;
  return __builtin_shuffle(reinterpret_cast<Words>(even), reinterpret_cast<Words>(odd), places);
}

// The keys of the ten rounds, as vectors, since all counters have the same.
struct RoundKeys {
  Halves first[10], second[10];

  RoundKeys(std::uint32_t k0, std::uint32_t k1) {
    for (std::uint32_t round = 0; round < 10; ++round)
      first[round] = Halves{} + (k0 + round * WEYL[0]), second[round] = Halves{} + (k1 + round * WEYL[1]);
  }
};

// Rounds FIRST to 9 of COUNT vectors of counters, side by side.
template <int FIRST, int COUNT>
inline __attribute__((always_inline)) void rounds(const RoundKeys& keys, Halves (&c)[4][COUNT]) {
#pragma GCC unroll 10
  for (int round = FIRST; round < 10; ++round)
    for (int i = 0; i < COUNT; ++i) {
      const Halves p = product_of(c[0][i], MULTIPLIERS[0]), q = product_of(c[2][i], MULTIPLIERS[1]);
      c[0][i] = (q >> 32) ^ c[1][i] ^ keys.first[round], c[1][i] = q;
      c[2][i] = (p >> 32) ^ c[3][i] ^ keys.second[round], c[3][i] = p;
    }
}

// The ten rounds, on as many counters as there are lanes, all under one key.
inline FourWords philox(FourWords counters, std::uint32_t k0, std::uint32_t k1) {
  Halves c[4][2];
  for (int w = 0; w < 4; ++w) {
    c[w][0] = reinterpret_cast<Halves>(counters.value[w]);
    c[w][1] = c[w][0] >> 32;
  }
  rounds<0>(RoundKeys(k0, k1), c);
  for (int w = 0; w < 4; ++w) counters.value[w] = joined<0>(c[w][0], c[w][1]);
  return counters;
}

// What rows first .. first + LANES - 1 draw: counters are (group, row, step, lane). Only the second differs by row and
// the first by group, so of the first three rounds most is computed once for all groups, or once for all rows.
class Rows {
 public:
  Rows(const Stream& stream, std::uint32_t first, std::uint32_t lane)
      : stream(stream), lane(lane), keys(stream.key[0], stream.key[1]), of_step(number(stream.step, 1)) {
    Words rows;
    for (int i = 0; i < LANES; ++i) rows[i] = first + i;
    rows ^= high(of_step) ^ key(0, 0);
    for (int odd = 0; odd < 2; ++odd) {
      second[odd] = product_of(reinterpret_cast<Halves>(rows) >> (32 * odd), MULTIPLIERS[0]);
      second_high[odd] = second[odd] >> 32;
    }
  }

  // Columns 4 * group .. 4 * group + 3, and those of the groups after it.
  template <int GROUPS>
  inline __attribute__((always_inline)) void words(std::uint32_t group, FourWords (&found)[GROUPS]) const {
    Halves c[4][2 * GROUPS];
    for (int g = 0; g < GROUPS; ++g) {
      const std::uint64_t p0 = number(group + g, 0), q1 = number(high(p0) ^ lane ^ key(1, 0), 1);
      const std::uint64_t p2 = number(high(q1) ^ low(of_step) ^ key(0, 1), 0);
      for (int odd = 0; odd < 2; ++odd) {
        const int i = 2 * g + odd;
        const Halves q2 = product_of(second_high[odd] ^ (low(p0) ^ key(1, 1)), MULTIPLIERS[1]);
        c[0][i] = (q2 >> 32) ^ (low(q1) ^ key(0, 2)), c[1][i] = q2;
        c[2][i] = second[odd] ^ (high(p2) ^ key(1, 2)), c[3][i] = Halves{} + low(p2);
      }
    }
    rounds<3>(keys, c);
    for (int g = 0; g < GROUPS; ++g)
      for (int w = 0; w < 4; ++w) found[g].value[w] = joined<0>(c[w][2 * g], c[w][2 * g + 1]);
  }

 private:
  static std::uint64_t number(std::uint32_t a, int multiplier) {
    return static_cast<std::uint64_t>(a) * MULTIPLIERS[multiplier];
  }
  static std::uint32_t low(std::uint64_t product) { return static_cast<std::uint32_t>(product); }
  static std::uint32_t high(std::uint64_t product) { return static_cast<std::uint32_t>(product >> 32); }
  std::uint32_t key(int word, std::uint32_t round) const { return stream.key[word] + round * WEYL[word]; }

  const Stream& stream;
  std::uint32_t lane;
  RoundKeys keys;
  std::uint64_t of_step;
  Halves second[2], second_high[2];  // even and odd
};

// Calls see(group, words) for every group of four columns of a draw.
template <typename See>
inline void draw_groups(const Stream& stream, std::uint32_t first, int columns, std::uint32_t lane, See see) {
  const Rows rows(stream, first, lane);
  // While a product of one is awaited, the others' are computed.
  constexpr int TOGETHER = 2;
  const int count = (columns + 3) / 4;
  int group = 0;
#pragma GCC unroll 1
  for (; group + TOGETHER <= count; group += TOGETHER) {
    FourWords found[TOGETHER];
    rows.words(group, found);
    for (int g = 0; g < TOGETHER; ++g) see(group + g, found[g]);
  }
  if (group < count) {
    FourWords found[1];
    rows.words(group, found);
    see(group, found[0]);
  }
}

// Calls put(column, words) for every column of a draw.
template <typename Put>
inline void draw(const Stream& stream, std::uint32_t first, int columns, std::uint32_t lane, Put put) {
  draw_groups(stream, first, columns, lane, [&](int group, const FourWords& four) {
    for (int j = 0; j < 4 && 4 * group + j < columns; ++j) put(4 * group + j, four.value[j]);
  });
}

inline Ints integers(Words w, std::uint32_t high_end) {
  const Halves even = reinterpret_cast<Halves>(w);
  return reinterpret_cast<Ints>(joined<1>(product_of(even, high_end), product_of(even >> 32, high_end)));
}

// Uniform on (0, 1): the centres of 2^23 equal cells.
inline Lanes unit(Words w) {
  const Floats value = __builtin_convertvector(reinterpret_cast<Ints>((w >> 8) | 1), Floats) * 0x1p-24f;
  return __builtin_convertvector(value, Lanes);
}

// Two standard normals by Box and Muller.
inline void normals(Words first, Words second, Lanes& one, Lanes& other) {
  const Lanes radius = root(-2 * log(unit(first)));
  circle(unit(second), one, other);
  one *= radius, other *= radius;
}

// Calls put(column, values) for every column of a normal draw.
template <typename Put>
inline void draw_normals(const Stream& stream, std::uint32_t first, int columns, std::uint32_t lane, Put put) {
  draw_groups(stream, first, columns, lane, [&](int group, const FourWords& four) {
    for (int j = 0; j < 4 && 4 * group + j < columns; j += 2) {
      Lanes one, other;
      normals(four.value[j], four.value[j + 1], one, other);
      put(4 * group + j, one);
      if (4 * group + j + 1 < columns) put(4 * group + j + 1, other);
    }
  });
}
