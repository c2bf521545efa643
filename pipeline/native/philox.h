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

// High and low words of products. Processors multiply every other word: even and odd ones in turn.
template <typename Vector>
inline void multiply(Vector a, std::uint32_t by, Vector& high, Vector& low) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Vector) == 64) {
    const __m512i x = (__m512i)a, m = _mm512_set1_epi64(by);
    const __m512i even = _mm512_mul_epu32(x, m), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), m);
    high = (Vector)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    low = (Vector)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
    return;
  }
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(Vector) == 32) {
    const __m256i x = (__m256i)a, m = _mm256_set1_epi64x(by);
    const __m256i even = _mm256_mul_epu32(x, m), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
    high = (Vector)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    low = (Vector)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    return;
  }
#endif
  for (int i = 0; i < LANES; ++i) {
    const std::uint64_t product = static_cast<std::uint64_t>(a[i]) * by;
    high[i] = static_cast<std::uint32_t>(product >> 32);
    low[i] = static_cast<std::uint32_t>(product);
  }
}

// The ten rounds, on as many counters as there are lanes, all under one key.
inline FourWords philox(FourWords counters, std::uint32_t k0, std::uint32_t k1) {
  Words c0 = counters.value[0], c1 = counters.value[1], c2 = counters.value[2], c3 = counters.value[3];
  for (int round = 0; round < 10; ++round) {
    Words high0, low0, high1, low1;
    multiply(c0, 0xD2511F53u, high0, low0);
    multiply(c2, 0xCD9E8D57u, high1, low1);
    c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Columns 4 * group .. 4 * group + 3 of rows first .. first + LANES - 1: counters are (group, row, step, lane).
inline FourWords words(const Stream& stream, std::uint32_t first, std::uint32_t group, std::uint32_t lane) {
  Words rows;
  for (int i = 0; i < LANES; ++i) rows[i] = first + i;
  return philox({{Words{} + group, rows, Words{} + stream.step, Words{} + lane}}, stream.key[0], stream.key[1]);
}

// Calls put(column, words) for every column of a draw.
template <typename Put>
inline void draw(const Stream& stream, std::uint32_t first, int columns, std::uint32_t lane, Put put) {
  for (int group = 0; 4 * group < columns; ++group) {
    const FourWords four = words(stream, first, group, lane);
    for (int j = 0; j < 4 && 4 * group + j < columns; ++j) put(4 * group + j, four.value[j]);
  }
}

inline Ints integers(Words w, std::uint32_t high_end) {
  Words high, low;
  multiply(w, high_end, high, low);
  return reinterpret_cast<Ints>(high);
}

inline Lanes unit(Words w) {
  const Floats value = __builtin_convertvector(reinterpret_cast<Ints>((w >> 9) * 2 + 1), Floats) * 0x1p-24f;
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
  for (int group = 0; 4 * group < columns; ++group) {
    const FourWords four = words(stream, first, group, lane);
    for (int j = 0; j < 4 && 4 * group + j < columns; j += 2) {
      Lanes one, other;
      normals(four.value[j], four.value[j + 1], one, other);
      put(4 * group + j, one);
      if (4 * group + j + 1 < columns) put(4 * group + j + 1, other);
    }
  }
}
