// Reads of a table by rows, and sums by rows, for one example a thread.
#pragma once

#include "lanes.h"

// Rows `rows` of a table of V rows and D columns whose steps are SV and SD: out (N, D).
template <int N, int V, int D, int SN, int SV, int SD>
inline __attribute__((noinline)) void look_up(const real* table, const Ints* rows, Lanes* out) {
  for (int n = 0; n < N; ++n)
    for (int d = 0; d < D; ++d) out[n * D + d] = table[rows[n * SN] * SV + d * SD];
}

// sums (V, D) += values (N, D) at rows `rows`, over all threads in their order: each thread adds to columns of its own.
template <int N, int V, int D, int SN, int XN, int XD>
inline __attribute__((noinline)) void add_by_row(const Lanes* values, const Ints* rows, real* sums) {
  SHARED std::int32_t row_of[THREADS];
  real* const table = table_of_threads();
  for (int n = 0; n < N; ++n)
    for (int first = 0; first < D; first += COLUMNS) {
      const int columns = D - first < COLUMNS ? D - first : COLUMNS;
      wait_for_all();
      row_of[thread_number()] = rows[n * SN];
      for (int c = 0; c < columns; ++c) table[thread_number() * ROW + c] = values[n * XN + (first + c) * XD];
      wait_for_all();
      for (int c = thread_number(); c < columns; c += THREADS)
        for (int t = 0; t < THREADS; ++t) sums[row_of[t] * D + first + c] += table[t * ROW + c];
    }
}

// out (D) = the sum over N tables (V, D) of the row that `rows` names.
template <int N, int V, int D, int SN>
inline __attribute__((noinline)) void look_up_sum(const real* tables, const Ints* rows, Lanes* out) {
  for (int d = 0; d < D; ++d) {
    real total = 0;
    for (int n = 0; n < N; ++n) total += tables[(n * V + rows[n * SN]) * D + d];
    out[d] = total;
  }
}

// sums (N, V, D) += values (D) at the row of each table that `rows` names, over all threads in their order.
template <int N, int V, int D, int SN, int XD>
inline __attribute__((noinline)) void add_to_rows(const Lanes* values, const Ints* rows, real* sums) {
  for (int n = 0; n < N; ++n) add_by_row<1, V, D, 1, 0, XD>(values, rows + n * SN, sums + n * V * D);
}

// Products of what all threads share: out (M, N) = left right as in products.h, each thread computing numbers of its own.
template <int M, int N, int K, int LM, int LK, int RK, int RN, int OM, int ON>
inline __attribute__((noinline)) void multiply_by_threads(const real* left, const real* right, real* out) {
  for (int place = thread_number(); place < M * N; place += THREADS) {
    const int m = place / N, n = place % N;
    real total = 0;
    for (int k = 0; k < K; ++k) total += left[m * LM + k * LK] * right[k * RK + n * RN];
    out[m * OM + n * ON] = total;
  }
}
