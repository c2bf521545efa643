// Products of small matrices in generated programs. A number is a vector of examples (Lanes) or a scalar; any axis has
// any step, since a vector is whole wherever it stands. Left (M, K) with steps LM, LK times right (K, N) with RK, RN.
#pragma once

#include "lanes.h"

template <typename Left, typename Right>
using Combined = decltype(Left{} * Right{});

// How many blocks of examples a model computes at once, of so many vectors each: as many as fit into the larger part of
// the second cache, and leave no rest of a batch's.
constexpr int blocks_at_once(int vectors, int examples, int blocks = 8) {
  const bool fits = blocks * vectors * static_cast<int>(sizeof(Lanes)) <= 3 << 17;
  const bool has_no_rest = (examples + LANES - 1) / LANES % blocks == 0;
  if (LANES == 1 || blocks == 1) return 1;
  return fits && has_no_rest ? blocks : blocks_at_once(vectors, examples, blocks / 2);
}

// Sizes of a register tile: its accumulators and one operand's column fit into the registers. A single row has eight
// columns, since as many additions are under way at once.
constexpr int tile_width(int n, int m = 2) {
  if (m == 1 && n >= 8) return 8;
  return n % 8 == 0 && VECTOR_BYTES == 64 ? 8 : n % 4 == 0 ? 4 : n < 6 ? n : n % 6 == 0 ? 6 : n % 5 == 0 ? 5 : 4;
}
constexpr int tile_height(int m, int width) { return m < TILE / width ? m : TILE / width; }

template <int TM, int TN, int K, int LM, int LK, int RK, int RN, typename Left, typename Right>
inline __attribute__((always_inline)) void accumulate(const Left* left, const Right* right,
                                                      Combined<Left, Right> (&total)[TM][TN]) {
#pragma GCC unroll 1
  for (int k = 0; k < K; ++k) {
    Left column[TM];
    for (int m = 0; m < TM; ++m) column[m] = left[m * LM + k * LK];
    for (int n = 0; n < TN; ++n) {
      const Right value = right[k * RK + n * RN];
      for (int m = 0; m < TM; ++m) total[m][n] += column[m] * value;
    }
  }
}

template <int TM, int TN, int K, int LM, int LK, int RK, int RN, int OM, int ON, typename Left, typename Right>
inline __attribute__((always_inline)) void product_tile(const Left* left, const Right* right,
                                                        Combined<Left, Right>* out) {
  Combined<Left, Right> total[TM][TN] = {};
  accumulate<TM, TN, K, LM, LK, RK, RN>(left, right, total);
  for (int m = 0; m < TM; ++m)
    for (int n = 0; n < TN; ++n) out[m * OM + n * ON] = total[m][n];
}

template <int TM, int N, int K, int LM, int LK, int RK, int RN, int OM, int ON, typename Left, typename Right>
inline __attribute__((always_inline)) void product_rows(const Left* left, const Right* right,
                                                        Combined<Left, Right>* out) {
  constexpr int TN = tile_width(N, TM);
#pragma GCC unroll 1
  for (int n = 0; n + TN <= N; n += TN)
    product_tile<TM, TN, K, LM, LK, RK, RN, OM, ON>(left, right + n * RN, out + n * ON);
  if constexpr (N % TN) {
    constexpr int n = N - N % TN;
    product_tile<TM, N % TN, K, LM, LK, RK, RN, OM, ON>(left, right + n * RN, out + n * ON);
  }
}

#ifndef ONE_LANE
// VECTORS vectors of columns of a single row: weights that stand side by side, times a number of each example. Half of the
// examples at once, so that the sums stay in registers; rows of one example each become columns at the end.
template <int VECTORS, int K, int LK, int RK, int ON>
inline __attribute__((always_inline)) void row_by_example(const Lanes* left, const real* right, Lanes* out) {
  constexpr int HALF = LANES / 2;
  Lanes rows[VECTORS][LANES];
#pragma GCC unroll 1
  for (int first = 0; first < LANES; first += HALF) {
    const real* const numbers = reinterpret_cast<const real*>(left) + first;
    Lanes total[HALF][VECTORS];
    for (int i = 0; i < HALF; ++i)
      for (int v = 0; v < VECTORS; ++v) total[i][v] = Lanes{};
#pragma GCC unroll 1
    for (int k = 0; k < K; ++k) {
      Lanes weights[VECTORS];
      // One copy for all of them would go through memory.
      for (int v = 0; v < VECTORS; ++v) std::memcpy(&weights[v], right + k * RK + v * LANES, sizeof(Lanes));
      for (int i = 0; i < HALF; ++i)
        for (int v = 0; v < VECTORS; ++v) total[i][v] += numbers[k * LK * LANES + i] * weights[v];
    }
    for (int i = 0; i < HALF; ++i)
      for (int v = 0; v < VECTORS; ++v) rows[v][first + i] = total[i][v];
  }
#pragma GCC unroll 1
  for (int v = 0; v < VECTORS; ++v) {
    transpose(rows[v]);
    for (int i = 0; i < LANES; ++i) out[(v * LANES + i) * ON] = rows[v][i];
  }
}

// out (1, N) = left right, of weights whose columns stand side by side. A vector of them is one load, where a vector of
// examples takes a load for each of them; the terms of each sum and their order are the same.
template <int N, int K, int LK, int RK, int ON>
inline __attribute__((always_inline)) void multiply_by_example(const Lanes* left, const real* right, Lanes* out) {
  constexpr int PAIR = 2 * LANES, PAIRS = N - N % PAIR, WHOLE = N - N % LANES;
#pragma GCC unroll 1
  for (int n = 0; n < PAIRS; n += PAIR) row_by_example<2, K, LK, RK, ON>(left, right + n, out + n * ON);
  if constexpr (PAIRS < WHOLE) row_by_example<1, K, LK, RK, ON>(left, right + PAIRS, out + PAIRS * ON);
  if constexpr (WHOLE < N) product_rows<1, N - WHOLE, K, 0, LK, RK, 1, 0, ON>(left, right + WHOLE, out + WHOLE * ON);
}
#endif

template <int M, int N, int K, int LM, int LK, int RK, int RN, int OM, int ON, typename Left, typename Right>
inline __attribute__((always_inline)) void product_columns(const Left* left, const Right* right,
                                                           Combined<Left, Right>* out) {
  // A matrix times a vector: of rows that are wide, few at once, so that the matrix is read in its order.
  constexpr int TM = N == 1 && LK < LM && M > 6 ? 6 : tile_height(M, tile_width(N));
#pragma GCC unroll 1
  for (int m = 0; m + TM <= M; m += TM)
    product_rows<TM, N, K, LM, LK, RK, RN, OM, ON>(left + m * LM, right, out + m * OM);
  if constexpr (M % TM) {
    constexpr int m = M - M % TM;
    product_rows<M % TM, N, K, LM, LK, RK, RN, OM, ON>(left + m * LM, right, out + m * OM);
  }
}

#ifndef ONE_LANE
// VECTORS vectors of columns of a product of weights, whose right columns stand side by side.
template <int VECTORS, int M, int K, int LM, int LK, int RK, int OM>
inline __attribute__((always_inline)) void weight_columns(const real* left, const real* right, real* out) {
  constexpr int TM = tile_height(M, VECTORS);
#pragma GCC unroll 1
  for (int m = 0; m + TM <= M; m += TM) {
    Lanes total[TM][VECTORS];
    for (int i = 0; i < TM; ++i)
      for (int v = 0; v < VECTORS; ++v) total[i][v] = Lanes{};
#pragma GCC unroll 1
    for (int k = 0; k < K; ++k) {
      Lanes row[VECTORS];
      for (int v = 0; v < VECTORS; ++v) std::memcpy(&row[v], right + k * RK + v * LANES, sizeof(Lanes));
      for (int i = 0; i < TM; ++i)
        for (int v = 0; v < VECTORS; ++v) total[i][v] += left[(m + i) * LM + k * LK] * row[v];
    }
    for (int i = 0; i < TM; ++i) std::memcpy(out + (m + i) * OM, total[i], sizeof total[i]);
  }
  if constexpr (M % TM) {
    constexpr int m = M - M % TM;
    weight_columns<VECTORS, M % TM, K, LM, LK, RK, OM>(left + m * LM, right, out + m * OM);
  }
}

// The same of right columns at any step, which are copied to stand side by side.
template <int VECTORS, int M, int K, int LM, int LK, int RK, int RN, int OM>
inline __attribute__((always_inline)) void any_weight_columns(const real* left, const real* right, real* out) {
  constexpr int WIDTH = VECTORS * LANES, WHOLE = K - K % LANES;
  if constexpr (RN == 1) {
    weight_columns<VECTORS, M, K, LM, LK, RK, OM>(left, right, out);
  } else {
    real rows[K * WIDTH];
    if constexpr (RK == 1) {
      // Rows of the transpose stand side by side.
#pragma GCC unroll 1
      for (int k = 0; k < WHOLE; k += LANES)
#pragma GCC unroll 1
        for (int v = 0; v < VECTORS; ++v) {
          Lanes square[LANES];
          for (int i = 0; i < LANES; ++i)
            std::memcpy(&square[i], right + k + (v * LANES + i) * RN, sizeof(Lanes));
          transpose(square);
          for (int i = 0; i < LANES; ++i) std::memcpy(rows + (k + i) * WIDTH + v * LANES, &square[i], sizeof(Lanes));
        }
    }
    for (int k = RK == 1 ? WHOLE : 0; k < K; ++k)
      for (int i = 0; i < WIDTH; ++i) rows[k * WIDTH + i] = right[k * RK + i * RN];
    weight_columns<VECTORS, M, K, LM, LK, WIDTH, OM>(left, rows, out);
  }
}

// out (M, N) = left right, of scalars: vectors of columns, with the terms of each sum in the order of all products.
template <int M, int N, int K, int LM, int LK, int RK, int RN, int OM>
inline __attribute__((always_inline)) void multiply_weights(const real* left, const real* right, real* out) {
  constexpr int PAIRS = N - N % (2 * LANES), WHOLE = N - N % LANES;
#pragma GCC unroll 1
  for (int n = 0; n < PAIRS; n += 2 * LANES)
    any_weight_columns<2, M, K, LM, LK, RK, RN, OM>(left, right + n * RN, out + n);
  if constexpr (PAIRS < WHOLE)
    any_weight_columns<1, M, K, LM, LK, RK, RN, OM>(left, right + PAIRS * RN, out + PAIRS);
  if constexpr (WHOLE < N)
    product_columns<M, N - WHOLE, K, LM, LK, RK, RN, OM, 1>(left, right + WHOLE * RN, out + WHOLE);
}
#endif

// out (M, N) = left right.
template <int M, int N, int K, int LM, int LK, int RK, int RN, int OM, int ON, typename Left, typename Right>
inline __attribute__((noinline)) void multiply(const Left* left, const Right* right, Combined<Left, Right>* out) {
#ifndef ONE_LANE
  constexpr bool IS_OF_WEIGHTS = std::is_same_v<Left, Lanes> && std::is_same_v<Right, real>;
  if constexpr (IS_OF_WEIGHTS && M == 1 && RN == 1 && VECTOR_BYTES == 32 && N >= LANES && K >= LANES)
    return multiply_by_example<N, K, LK, RK, ON>(left, right, out);
  constexpr bool ARE_SCALARS = std::is_same_v<Left, real> && std::is_same_v<Right, real>;
  if constexpr (ARE_SCALARS && ON == 1 && N >= LANES && K <= 1 << 10)
    return multiply_weights<M, N, K, LM, LK, RK, RN, OM>(left, right, out);
#endif
  product_columns<M, N, K, LM, LK, RK, RN, OM, ON>(left, right, out);
}

// One row of a product, of columns from n0 to before n1, with terms from k0 to before k1.
template <int LK, int RK, int RN, int ON, typename Left, typename Right>
inline void multiply_row(const Left* left, const Right* right, Combined<Left, Right>* out, int n0, int n1, int k0,
                         int k1) {
  constexpr int TN = 4;
  int n = n0;
  for (; n + TN <= n1; n += TN) {
    Combined<Left, Right> total[TN] = {};
#pragma GCC unroll 1
    for (int k = k0; k < k1; ++k) {
      const Left value = left[k * LK];
      for (int t = 0; t < TN; ++t) total[t] += value * right[k * RK + (n + t) * RN];
    }
    for (int t = 0; t < TN; ++t) out[(n + t) * ON] = total[t];
  }
  for (; n < n1; ++n) {
    Combined<Left, Right> total{};
#pragma GCC unroll 1
    for (int k = k0; k < k1; ++k) total += left[k * LK] * right[k * RK + n * RN];
    out[n * ON] = total;
  }
}

// Rows M0 to before M1 of a product of N columns and K terms, of columns first[m] to before last[m], in tiles: what is in
// a tile and not asked for is computed too, of whatever stands there.
template <int TM, int TN, int N, int K, int LM, int LK, int RK, int RN, int OM, int ON, typename Left, typename Right>
inline __attribute__((always_inline)) void ragged_rows(const Left* left, const Right* right, Combined<Left, Right>* out,
                                                       const int* first, const int* last) {
  int n0 = N, n1 = 0;
  for (int m = 0; m < TM; ++m) n0 = first[m] < n0 ? first[m] : n0, n1 = last[m] > n1 ? last[m] : n1;
#pragma GCC unroll 1
  for (int begin = n0; begin < n1; begin += TN) {
    const int n = begin < N - TN ? begin : N - TN;
    product_tile<TM, TN, K, LM, LK, RK, RN, OM, ON>(left, right + n * RN, out + n * ON);
  }
}

template <int M0, int M1, int N, int K, int LM, int LK, int RK, int RN, int OM, int ON, typename Left, typename Right>
inline __attribute__((noinline)) void multiply_to(const Left* left, const Right* right, Combined<Left, Right>* out,
                                                  const int* first, const int* last) {
  constexpr int MOST = VECTOR_BYTES == 64 ? 4 : 2, TM = M1 - M0 < MOST ? M1 - M0 : MOST, TN = N < 4 ? N : 4;
#pragma GCC unroll 1
  for (int m = M0; m + TM <= M1; m += TM)
    ragged_rows<TM, TN, N, K, LM, LK, RK, RN, OM, ON>(left + m * LM, right, out + m * OM, first + m, last + m);
  if constexpr ((M1 - M0) % TM) {
    constexpr int TAIL = (M1 - M0) % TM, m = M1 - TAIL;
    ragged_rows<TAIL, TN, N, K, LM, LK, RK, RN, OM, ON>(left + m * LM, right, out + m * OM, first + m, last + m);
  }
}

// N columns of a row, with terms from k0 to before k1.
template <int N, int LK, int RK, int RN, int ON, typename Left, typename Right>
inline void multiply_terms(const Left* left, const Right* right, Combined<Left, Right>* out, int k0, int k1) {
  // Eight sums hide how long an addition takes.
  constexpr int TN = N % 8 == 0 ? 8 : N < 4 ? N : 4;
#pragma GCC unroll 1
  for (int begin = 0; begin < N; begin += TN) {
    const int n = begin < N - TN ? begin : N - TN;
    Combined<Left, Right> total[TN] = {};
#pragma GCC unroll 1
    for (int k = k0; k < k1; ++k) {
      const Left value = left[k * LK];
      for (int t = 0; t < TN; ++t) total[t] += value * right[k * RK + (n + t) * RN];
    }
    for (int t = 0; t < TN; ++t) out[(n + t) * ON] = total[t];
  }
}

#ifndef ONE_LANE
// into[m * OM + n] += sum of the lanes of total[m][n], for 4 x 4 of them, without a detour through memory.
template <int OM, int PART = 0>
inline __attribute__((always_inline)) void add_square(const Lanes (&total)[4][4], real* into) {
  constexpr int ROWS = LANES / 4;
  typedef real Four __attribute__((vector_size(4 * sizeof(real))));
  Lanes flat[LANES];
  for (int i = 0; i < LANES; ++i) flat[i] = total[PART * ROWS + i / 4][i % 4];
  halve<LANES / 2>(flat);
#pragma GCC unroll 4
  for (int m = 0; m < ROWS; ++m) {
    Four old, part;
    real* const row = into + (PART * ROWS + m) * OM;
    std::memcpy(&part, reinterpret_cast<const real*>(&flat[0]) + 4 * m, sizeof part);
    std::memcpy(&old, row, sizeof old);
    old += part;
    std::memcpy(row, &old, sizeof old);
  }
  if constexpr ((PART + 1) * ROWS < 4) add_square<OM, PART + 1>(total, into);
}

// Four rows of sums (4, N), whose N is a multiple of 4. Long rows read a copy of the left operand that is contiguous.
template <int N, int K, int LM, int LK, int RK, int RN, int OM, typename Left, typename Right>
inline __attribute__((always_inline)) void sums_of_squares(const Left* left, const Right* right, real* sums) {
  if constexpr (N >= 32 && LK != 4) {
    Left packed[4 * K];
#pragma GCC unroll 1
    for (int k = 0; k < K; ++k)
      for (int m = 0; m < 4; ++m) packed[4 * k + m] = left[m * LM + k * LK];
    sums_of_squares<N, K, 1, 4, RK, RN, OM>(packed, right, sums);
  } else {
#pragma GCC unroll 1
    for (int n = 0; n < N; n += 4) {
      Lanes total[4][4] = {};
      accumulate<4, 4, K, LM, LK, RK, RN>(left, right + n * RN, total);
      add_square<OM>(total, sums + n);
    }
  }
}

#endif

// sums (M, N), rows of OM numbers, += left right summed over lanes.
template <int TM, int N, int K, int LM, int LK, int RK, int RN, int OM, typename Left, typename Right>
inline __attribute__((always_inline)) void sums_of_rows(const Left* left, const Right* right, real* sums) {
  constexpr int TN = VECTOR_BYTES < 64 ? (N < 3 ? N : 3) : N < 6 ? N : N % 6 == 0 ? 6 : N % 5 == 0 ? 5 : 4;
#ifndef ONE_LANE
  if constexpr (VECTOR_BYTES == 64 && TM == 4 && N % 4 == 0)
    return sums_of_squares<N, K, LM, LK, RK, RN, OM>(left, right, sums);
#endif
  Lanes strip[TM * N];
#pragma GCC unroll 1
  for (int n = 0; n + TN <= N; n += TN)
    product_tile<TM, TN, K, LM, LK, RK, RN, N, 1>(left, right + n * RN, strip + n);
  if constexpr (N % TN) {
    constexpr int n = N - N % TN;
    product_tile<TM, N % TN, K, LM, LK, RK, RN, N, 1>(left, right + n * RN, strip + n);
  }
  if constexpr (OM == N) {
    add_sums(strip, TM * N, sums);
  } else {
    for (int m = 0; m < TM; ++m) add_sums(strip + m * N, N, sums + m * OM);
  }
}

#ifndef ONE_LANE
// Rows of as many numbers as TV vectors hold, one for each example: COUNT columns (K, N) with steps RK and RN, whose
// blocks stand RB vectors apart.
template <int TV, int COUNT, int K, int RK, int RN, int BLOCKS, int RB>
inline __attribute__((always_inline)) void turn(const Lanes* right, Lanes* rows) {
#pragma GCC unroll 1
  for (int b = 0; b < BLOCKS; ++b)
#pragma GCC unroll 1
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 1
      for (int v = 0; v < TV; ++v) {
        Lanes square[LANES] = {};
        for (int i = 0; i < LANES && (COUNT == TV * LANES || v * LANES + i < COUNT); ++i)
          square[i] = right[b * RB + k * RK + (v * LANES + i) * RN];
        transpose(square);
        for (int i = 0; i < LANES; ++i) rows[((b * K + k) * LANES + i) * TV + v] = square[i];
      }
}

template <int TM, int TV, int COUNT, int N, int K, int LM, int LK, int BLOCKS, int LB>
inline __attribute__((always_inline)) void turned_tile(const Lanes* left, const Lanes* rows, real* sums) {
  Lanes total[TM][TV];
  for (int m = 0; m < TM; ++m)
    for (int v = 0; v < TV; ++v) total[m][v] = Lanes{};
#pragma GCC unroll 1
  for (int b = 0; b < BLOCKS; ++b)
#pragma GCC unroll 1
    for (int k = 0; k < K; ++k) {
      const real* const numbers = reinterpret_cast<const real*>(left + b * LB + k * LK);
#pragma GCC unroll 1
      for (int i = 0; i < LANES; ++i, rows += TV)
        for (int m = 0; m < TM; ++m)
          for (int v = 0; v < TV; ++v) total[m][v] += numbers[m * LM * LANES + i] * rows[v];
    }
  for (int m = 0; m < TM; ++m)
    for (int v = 0; v < TV; ++v) {
      real* const into = sums + m * N + v * LANES;
      if ((v + 1) * LANES <= COUNT) {
        Lanes old;
        std::memcpy(&old, into, sizeof old);
        old += total[m][v];
        std::memcpy(into, &old, sizeof old);
      } else {
        for (int i = 0; i < COUNT - v * LANES; ++i) into[i] += total[m][v][i];
      }
    }
}

// COUNT columns of the sums, of as many vectors of right columns.
template <int COUNT, int M, int N, int K, int LM, int LK, int RK, int RN, int BLOCKS, int LB, int RB>
inline __attribute__((always_inline)) void turned_columns(const Lanes* left, const Lanes* right, real* sums) {
  constexpr int TV = (COUNT + LANES - 1) / LANES, TM = tile_height(M, TV);
  Lanes rows[BLOCKS * K * LANES * TV];
  turn<TV, COUNT, K, RK, RN, BLOCKS, RB>(right, rows);
#pragma GCC unroll 1
  for (int m = 0; m + TM <= M; m += TM)
    turned_tile<TM, TV, COUNT, N, K, LM, LK, BLOCKS, LB>(left + m * LM, rows, sums + m * N);
  if constexpr (M % TM) {
    constexpr int m = M - M % TM;
    turned_tile<M % TM, TV, COUNT, N, K, LM, LK, BLOCKS, LB>(left + m * LM, rows, sums + m * N);
  }
}

// So many examples at once that their rows stay in the first cache.
constexpr int turned_blocks(int blocks, int terms) {
  return blocks > 1 && blocks * terms > 16 ? turned_blocks(blocks / 2, terms) : blocks;
}

// sums (M, N) += left right summed over the examples of some blocks, whose operands stand LB and RB vectors apart:
// numbers of one example times rows of the same one, so that no lanes are added up.
template <int M, int N, int K, int LM, int LK, int RK, int RN, int BLOCKS, int LB, int RB>
inline __attribute__((noinline)) void add_turned_sums(const Lanes* left, const Lanes* right, real* sums) {
  constexpr int VECTORS = N / LANES, TN = LANES * (VECTORS % 3 ? VECTORS < 2 ? 1 : 2 : 3);
  constexpr int AT_ONCE = turned_blocks(BLOCKS, K);
#pragma GCC unroll 1
  for (int b = 0; b < BLOCKS; b += AT_ONCE, left += AT_ONCE * LB, right += AT_ONCE * RB) {
#pragma GCC unroll 1
    for (int n = 0; n + TN <= N; n += TN)
      turned_columns<TN, M, N, K, LM, LK, RK, RN, AT_ONCE, LB, RB>(left, right + n * RN, sums + n);
    if constexpr (N % TN) {
      constexpr int n = N - N % TN;
      turned_columns<N % TN, M, N, K, LM, LK, RK, RN, AT_ONCE, LB, RB>(left, right + n * RN, sums + n);
    }
  }
}
#endif

template <int M, int N, int K, int LM, int LK, int RK, int RN, int OM, int ON, typename Left, typename Right>
inline __attribute__((noinline)) void add_product_sums(const Left* left, const Right* right, real* sums) {
  static_assert(ON == 1);
  constexpr int TM = M < 4 || (N == 1 && M <= TILE) ? M : 4;
#pragma GCC unroll 1
  for (int m = 0; m + TM <= M; m += TM)
    sums_of_rows<TM, N, K, LM, LK, RK, RN, OM>(left + m * LM, right, sums + m * OM);
  if constexpr (M % TM) {
    constexpr int m = M - M % TM;
    sums_of_rows<M % TM, N, K, LM, LK, RK, RN, OM>(left + m * LM, right, sums + m * OM);
  }
}

#ifdef ONE_LANE
// One example has no rows to turn, and threads no blocks.
template <int M, int N, int K, int LM, int LK, int RK, int RN, int BLOCKS, int LB, int RB>
inline void add_turned_sums(const Lanes* left, const Lanes* right, real* sums) {
  add_product_sums<M, N, K, LM, LK, RK, RN, N, 1>(left, right, sums);
}
#endif
