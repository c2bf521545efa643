// The names of native/lanes.h for one lane: each thread computes one example, in numbers instead of vectors. Sums over
// lanes are sums over the threads of a block, which all call them together, so that texts that were written for vectors
// of examples are the texts of blocks of threads. Order of summation is fixed by the source and the number of threads.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "threads.h"

#define ONE_LANE
// Vectors of one number are converted as numbers are.
#define __builtin_convertvector(value, type) static_cast<type>(value)

using real = REAL;
constexpr int LANES = 1;
// Sizes of register tiles: those of the largest vectors.
constexpr int VECTOR_BYTES = 64, TILE = 24;
using Lanes = real;
using Mask = std::int32_t;
using Ints = std::int32_t;
using Words = std::uint32_t;
using Floats = float;
using Doubles = double;

inline Lanes lanes(real value) { return value; }

inline Lanes root(Lanes x) { return std::sqrt(x); }

// cos and sin of 2 pi turns.
inline void circle(Lanes turns, Lanes& cosine, Lanes& sine) {
  const real angle = static_cast<real>(6.283185307179586) * turns;
  cosine = std::cos(angle), sine = std::sin(angle);
}

// Columns of the table through which threads add up: 40 kB at most, of the 48 kB that every GPU has.
constexpr int MOST_COLUMNS = 40960 / (THREADS * sizeof(real)) - 1;
constexpr int COLUMNS = MOST_COLUMNS < THREADS ? MOST_COLUMNS : THREADS;
// A row for each thread. An odd step lets neighbouring threads write to different banks of shared memory.
constexpr int ROW = COLUMNS + 1 - COLUMNS % 2;

inline real* table_of_threads() {
  SHARED real numbers[THREADS * ROW];
  return numbers;
}

// into[i] += sum of v[i] over all threads, in their order.
inline void add_sums(const Lanes* v, int count, real* into) {
  real* const table = table_of_threads();
  for (int first = 0; first < count; first += COLUMNS) {
    const int columns = count - first < COLUMNS ? count - first : COLUMNS;
    wait_for_all();
    for (int c = 0; c < columns; ++c) table[thread_number() * ROW + c] = v[first + c];
    wait_for_all();
    for (int c = thread_number(); c < columns; c += THREADS) {
      real total = 0;
      for (int t = 0; t < THREADS; ++t) total += table[t * ROW + c];
      into[first + c] += total;
    }
  }
}

// The sum over all threads, in their order; each is given it.
inline real sum(Lanes v) {
  SHARED real total;
  wait_for_all();
  if (thread_number() == 0) total = 0;
  add_sums(&v, 1, &total);
  wait_for_all();
  return total;
}
