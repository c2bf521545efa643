// Reads of tables by rows, and sums by rows, for vectors of examples. Part of functions.h.
#pragma once

#include "lanes.h"

// Rows `rows` of a table of V rows and D columns whose steps are SV and SD, as vectors of examples: out (N, D).
template <int N, int V, int D, int SN, int SV, int SD>
inline __attribute__((noinline)) void look_up(const real* table, const Ints* rows, Lanes* out) {
  constexpr int VECTORS = V <= LANES ? 1 : V <= 2 * LANES ? 2 : 4;
  if constexpr (V <= 4 * LANES) {
    // A column of a small table is a few vectors, looked up by a shuffle.
    Mask which[N];
    for (int n = 0; n < N; ++n) which[n] = __builtin_convertvector(rows[n * SN], Mask);
#pragma GCC unroll 1
    for (int d = 0; d < D; ++d) {
      Lanes column[VECTORS] = {};
      if constexpr (SV == 1 && V == VECTORS * LANES) {
        for (int v = 0; v < VECTORS; ++v) column[v] = taken(table + v * LANES + d * SD);
      } else {
        for (int v = 0; v < V; ++v) reinterpret_cast<real*>(column)[v] = table[v * SV + d * SD];
      }
#pragma GCC unroll 1
      for (int n = 0; n < N; ++n) {
        const Mask row = which[n];
        if constexpr (VECTORS == 1) {
          out[n * D + d] = __builtin_shuffle(column[0], row);
        } else {
          const Lanes lower = __builtin_shuffle(column[0], column[1 % VECTORS], row);
          if constexpr (VECTORS == 2) {
            out[n * D + d] = lower;
          } else {
            const Lanes upper = __builtin_shuffle(column[2 % VECTORS], column[3 % VECTORS], row);
            out[n * D + d] = row >= 2 * LANES ? upper : lower;
          }
        }
      }
    }
  } else {
#pragma GCC unroll 1
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 1
      for (int lane = 0; lane < LANES; ++lane) {
        const real* row = table + rows[n * SN][lane] * SV;
        for (int d = 0; d < D; ++d) reinterpret_cast<real*>(out + n * D + d)[lane] = row[d * SD];
      }
  }
}

// into[i] += row[FIRST + i] for COUNT of them, in vectors of WIDTH.
template <int COUNT, int FIRST = 0, int WIDTH = LANES>
inline __attribute__((always_inline)) void add_row(const Lanes& row, real* into) {
  typedef real Part __attribute__((vector_size(WIDTH * sizeof(real))));
  if constexpr (COUNT >= WIDTH) {
    Part part, old;
    std::memcpy(&part, reinterpret_cast<const real*>(&row) + FIRST, sizeof part);
    std::memcpy(&old, into, sizeof old);
    old += part;
    std::memcpy(into, &old, sizeof old);
    if constexpr (COUNT > WIDTH) add_row<COUNT - WIDTH, FIRST + WIDTH, WIDTH>(row, into + WIDTH);
  } else {
    add_row<COUNT, FIRST, WIDTH / 2>(row, into);
  }
}

// COUNT numbers of each lane, at steps of XD, added to the row of the lane's own.
template <int COUNT, int D, int XD>
inline __attribute__((always_inline)) void add_columns(const Lanes* values, const Ints& rows, real* sums) {
  Lanes turned[LANES] = {};
  for (int d = 0; d < COUNT; ++d) turned[d] = values[d * XD];
  transpose(turned);
#pragma GCC unroll 16
  for (int lane = 0; lane < LANES; ++lane) add_row<COUNT>(turned[lane], sums + rows[lane] * D);
}

// sums (V, D) += values (N, D) at rows `rows`, over all lanes.
template <int N, int V, int D, int SN, int XN, int XD>
inline __attribute__((noinline)) void add_by_row(const Lanes* values, const Ints* rows, real* sums) {
  // A masked sum for each row of a small table, else each example's numbers side by side.
  if constexpr (V * D < 5 * LANES) {
#pragma GCC unroll 1
    for (int v = 0; v < V; ++v) {
      Lanes total[D] = {};
#pragma GCC unroll 1
      for (int n = 0; n < N; ++n) {
        const Mask is_here = __builtin_convertvector(rows[n * SN], Mask) == v;
        for (int d = 0; d < D; ++d) total[d] += is_here ? values[n * XN + d * XD] : Lanes{};
      }
      add_sums(total, D, sums + v * D);
    }
  } else {
#pragma GCC unroll 1
    for (int n = 0; n < N; ++n) {
#pragma GCC unroll 1
      for (int d = 0; d + LANES <= D; d += LANES)
        add_columns<LANES, D, XD>(values + n * XN + d * XD, rows[n * SN], sums + d);
      if constexpr (D % LANES) {
        constexpr int d = D - D % LANES;
        add_columns<D % LANES, D, XD>(values + n * XN + d * XD, rows[n * SN], sums + d);
      }
    }
  }
}

// out (D) = the sum over N tables (V, D) of the row that `rows` names: VECTORS vectors of columns, one example after the
// other, whose rows become columns at the end.
template <int VECTORS, int N, int V, int D, int SN>
inline __attribute__((always_inline)) void sum_rows(const real* tables, const Ints* rows, Lanes* out) {
  Lanes found[VECTORS][LANES];
#pragma GCC unroll 1
  for (int lane = 0; lane < LANES; ++lane) {
    Lanes total[VECTORS] = {};
#pragma GCC unroll 1
    for (int n = 0; n < N; ++n) {
      const real* const row = tables + (n * V + rows[n * SN][lane]) * D;
      for (int v = 0; v < VECTORS; ++v) total[v] += taken(row + v * LANES);
    }
    for (int v = 0; v < VECTORS; ++v) found[v][lane] = total[v];
  }
#pragma GCC unroll 1
  for (int v = 0; v < VECTORS; ++v) {
    transpose(found[v]);
    for (int i = 0; i < LANES; ++i) out[v * LANES + i] = found[v][i];
  }
}

template <int N, int V, int D, int SN>
inline __attribute__((noinline)) void look_up_sum(const real* tables, const Ints* rows, Lanes* out) {
  constexpr int MOST = 8, MANY = D - D % (MOST * LANES), WHOLE = D - D % LANES;
#pragma GCC unroll 1
  for (int d = 0; d < MANY; d += MOST * LANES) sum_rows<MOST, N, V, D, SN>(tables + d, rows, out + d);
  if constexpr (MANY < WHOLE) sum_rows<(WHOLE - MANY) / LANES, N, V, D, SN>(tables + MANY, rows, out + MANY);
#pragma GCC unroll 1
  for (int d = WHOLE; d < D; ++d)
    for (int lane = 0; lane < LANES; ++lane) {
      real total = 0;
      for (int n = 0; n < N; ++n) total += tables[(n * V + rows[n * SN][lane]) * D + d];
      out[d][lane] = total;
    }
}

// COUNT columns of `add_to_rows`, of at most VECTORS vectors.
template <int VECTORS, int COUNT, int N, int V, int D, int SN, int XD>
inline __attribute__((always_inline)) void add_columns_to_rows(const Lanes* values, const Ints* rows, real* sums) {
  Lanes turned[VECTORS][LANES] = {};
#pragma GCC unroll 1
  for (int v = 0; v < VECTORS; ++v) {
    for (int i = 0; i < LANES && v * LANES + i < COUNT; ++i) turned[v][i] = values[(v * LANES + i) * XD];
    transpose(turned[v]);
  }
#pragma GCC unroll 1
  for (int lane = 0; lane < LANES; ++lane)
#pragma GCC unroll 1
    for (int n = 0; n < N; ++n) {
      real* const into = sums + (n * V + rows[n * SN][lane]) * D;
      for (int v = 0; v < COUNT / LANES; ++v) add_row<LANES>(turned[v][lane], into + v * LANES);
      if constexpr (COUNT % LANES) add_row<COUNT % LANES>(turned[VECTORS - 1][lane], into + COUNT / LANES * LANES);
    }
}

// sums (N, V, D) += values (D), whose step is XD, at the row of each table that `rows` names, over all lanes.
template <int N, int V, int D, int SN, int XD>
inline __attribute__((noinline)) void add_to_rows(const Lanes* values, const Ints* rows, real* sums) {
  constexpr int VECTORS = 8, MOST = VECTORS * LANES, MANY = D - D % MOST;
#pragma GCC unroll 1
  for (int d = 0; d < MANY; d += MOST)
    add_columns_to_rows<VECTORS, MOST, N, V, D, SN, XD>(values + d * XD, rows, sums + d);
  if constexpr (MANY < D)
    add_columns_to_rows<(D - MANY + LANES - 1) / LANES, D - MANY, N, V, D, SN, XD>(values + MANY * XD, rows, sums + MANY);
}
