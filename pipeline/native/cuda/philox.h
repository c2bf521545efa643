// Philox4x32-10 (Salmon et al. 2011) for one lane, with the words of pipeline/numerics/streams.py and the names of
// native/philox.h.
#pragma once

#include "lanes.h"

struct Stream {
  std::uint32_t key[2];
  std::uint32_t step;
};

struct FourWords {
  Words value[4];
};

inline std::uint32_t high_word(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(a) * b >> 32);
}

// The ten rounds.
inline FourWords philox(FourWords counters, std::uint32_t k0, std::uint32_t k1) {
  constexpr std::uint32_t M0 = 0xD2511F53u, M1 = 0xCD9E8D57u;
  Words (&c)[4] = counters.value;
  for (int round = 0; round < 10; ++round) {
    const Words next[] = {high_word(c[2], M1) ^ c[1] ^ k0, c[2] * M1, high_word(c[0], M0) ^ c[3] ^ k1, c[0] * M0};
    for (int w = 0; w < 4; ++w) c[w] = next[w];
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return counters;
}

// Calls see(group, words) for every group of four columns of what a row draws: counters are (group, row, step, lane).
template <typename See>
inline void draw_groups(const Stream& stream, std::uint32_t row, int columns, std::uint32_t lane, See see) {
  for (int group = 0; 4 * group < columns; ++group) {
    const FourWords counters = {{static_cast<std::uint32_t>(group), row, stream.step, lane}};
    see(group, philox(counters, stream.key[0], stream.key[1]));
  }
}

// Calls put(column, words) for every column of a draw.
template <typename Put>
inline void draw(const Stream& stream, std::uint32_t row, int columns, std::uint32_t lane, Put put) {
  draw_groups(stream, row, columns, lane, [&](int group, const FourWords& four) {
    for (int j = 0; j < 4 && 4 * group + j < columns; ++j) put(4 * group + j, four.value[j]);
  });
}

inline Ints integers(Words w, std::uint32_t high_end) { return static_cast<Ints>(high_word(w, high_end)); }

// Uniform on (0, 1): the centres of 2^23 equal cells.
inline Lanes unit(Words w) { return static_cast<float>((w >> 8) | 1) * 0x1p-24f; }

// Calls put(column, values) for every column of a normal draw, by Box and Muller.
template <typename Put>
inline void draw_normals(const Stream& stream, std::uint32_t row, int columns, std::uint32_t lane, Put put) {
  draw_groups(stream, row, columns, lane, [&](int group, const FourWords& four) {
    for (int j = 0; j < 4 && 4 * group + j < columns; j += 2) {
      Lanes one, other;
      circle(unit(four.value[j + 1]), one, other);
      const Lanes radius = root(-2 * std::log(unit(four.value[j])));
      put(4 * group + j, radius * one);
      if (4 * group + j + 1 < columns) put(4 * group + j + 1, radius * other);
    }
  });
}
