// Arithmetic on lanes: as many examples side by side as fill one of the processor's vectors (sixteen of 512 bits), so that every operation of a model is a vector operation and no
// sum over examples is taken before the end of a block. Order of summation is fixed by the source alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

using real = REAL;
// Compilers take larger vectors than the processor has, and are slow with them.
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif
constexpr int LANES = VECTOR_BYTES / sizeof(real);
typedef real Lanes __attribute__((vector_size(LANES * sizeof(real))));
// The integers that comparisons of Lanes give, and that its shuffles take.
using Mask = decltype(Lanes{} < Lanes{});
typedef std::int32_t Ints __attribute__((vector_size(LANES * sizeof(std::int32_t))));
typedef std::uint32_t Words __attribute__((vector_size(LANES * sizeof(std::uint32_t))));
typedef float Floats __attribute__((vector_size(LANES * sizeof(float))));
typedef double Doubles __attribute__((vector_size(LANES * sizeof(double))));

inline Lanes lanes(real value) { return Lanes{} + value; }

template <typename Vector, typename F>
__attribute__((noinline)) Vector each(Vector x, F function) {
  decltype(x[0] + x[0]) values[LANES];
  std::memcpy(values, &x, sizeof x);
#pragma GCC unroll 1
  for (int i = 0; i < LANES; ++i) values[i] = function(values[i]);
  std::memcpy(&x, values, sizeof x);
  return x;
}

// The compiler's builtins instead of <immintrin.h>, the reading of which takes a sixth of a program's compilation.
template <typename Vector>
inline Vector root(Vector x) {
#if defined(__AVX512F__) && __has_builtin(__builtin_ia32_sqrtps512_mask)
  constexpr int CURRENT_ROUNDING = 4;
  if constexpr (std::is_same_v<Vector, Floats> && sizeof(Vector) == 64)
    return __builtin_ia32_sqrtps512_mask(x, x, -1, CURRENT_ROUNDING);
#endif
#if defined(__AVX__) && __has_builtin(__builtin_ia32_sqrtps256)
  if constexpr (std::is_same_v<Vector, Floats> && sizeof(Vector) == 32) return __builtin_ia32_sqrtps256(x);
#endif
  return each(x, [](auto v) { return std::sqrt(v); });
}

// `x` between two bounds; what is not a number stays so. Compilers take two instructions for each choice, these take one.
template <typename Vector>
inline Vector between(Vector x, float least, float most) {
#if defined(__AVX512F__) && __has_builtin(__builtin_ia32_minps512_mask)
  constexpr int CURRENT_ROUNDING = 4;
  if constexpr (sizeof(Vector) == 64) {
    x = __builtin_ia32_maxps512_mask(Vector{} + least, x, x, -1, CURRENT_ROUNDING);
    return __builtin_ia32_minps512_mask(Vector{} + most, x, x, -1, CURRENT_ROUNDING);
  }
#endif
#if defined(__AVX__) && __has_builtin(__builtin_ia32_minps256)
  if constexpr (sizeof(Vector) == 32)
    return __builtin_ia32_minps256(Vector{} + most, __builtin_ia32_maxps256(Vector{} + least, x));
#endif
  x = x < least ? Vector{} + least : x;
  return x > most ? Vector{} + most : x;
}

inline Floats exp(Floats x) {
  // exp(x) = 2^n exp(r), |r| <= ln 2 / 2, with a polynomial of degree 6 (Cephes); 0 would come out as 2^-126 or so.
  // What is added to round leaves n + 127 in the lowest bits, which are the exponent of 2^n.
  constexpr float ROUNDER = 12582912.0f + 127;
  x = between(x, -87.0f, 88.0f);
  const Floats shifted = x * 1.44269504088896341f + ROUNDER, whole = shifted - ROUNDER;
  const Floats power = reinterpret_cast<Floats>(reinterpret_cast<Ints>(shifted) << 23);
  const Floats r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Floats p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return (p * (r * r) + r + 1.0f) * power;
}

inline Floats log(Floats x) {
  // x = 2^n m with m in [sqrt(1/2), sqrt(2)), polynomial in m - 1 (Cephes); x positive and normal.
  Ints n = ((reinterpret_cast<Ints>(x) >> 23) & 0xFF) - 126;
  Floats m = reinterpret_cast<Floats>((reinterpret_cast<Ints>(x) & 0x007FFFFF) | 0x3F000000);
  const Ints small = m < 0.707106781186547524f;
  n += small;
  m = (small ? m + m : m) - 1.0f;
  const Floats whole = __builtin_convertvector(n, Floats), z = m * m;
  Floats p = 7.0376836292e-2f * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  return ((p * m * z - whole * 2.12194440e-4f) - 0.5f * z + m) + whole * 0.693359375f;
}

// cos and sin of 2 pi turns, turns in (0, 1): the remainder to the nearest quarter is exact.
inline void circle(Floats turns, Floats& cosine, Floats& sine) {
  const Floats shifted = turns * 4.0f + 12582912.0f;
  const Ints quarter = reinterpret_cast<Ints>(shifted) & 3;
  const Floats a = (turns * 4.0f - (shifted - 12582912.0f)) * 1.57079632679489662f, z = a * a;
  Floats s = -1.9515295891e-4f * z + 8.3321608736e-3f;
  s = s * z - 1.6666654611e-1f;
  s = s * z * a + a;
  Floats c = 2.443315711809948e-5f * z - 1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * z * z - 0.5f * z + 1.0f;
  const Ints is_odd = -(quarter & 1);
  const Floats near_c = is_odd ? s : c, near_s = is_odd ? c : s;
  const Ints flips_c = -(((quarter + 1) >> 1) & 1), flips_s = -(quarter >> 1);
  cosine = flips_c ? -near_c : near_c;
  sine = flips_s ? -near_s : near_s;
}

// Double precision is for checking: exact, and slow.
inline Doubles exp(Doubles x) {
  return each(x, [](double v) { return std::exp(v); });
}

inline Doubles log(Doubles x) {
  return each(x, [](double v) { return std::log(v); });
}

inline void circle(Doubles turns, Doubles& cosine, Doubles& sine) {
  cosine = each(turns, [](double v) { return std::cos(6.283185307179586 * v); });
  sine = each(turns, [](double v) { return std::sin(6.283185307179586 * v); });
}

inline Lanes tanh(Lanes x) { return 1 - 2 / (exp(2 * x) + 1); }

// Sums of the lanes of LANES vectors, in their order.
template <int HALF>
inline Lanes fold(Lanes a, Lanes b) {
  Mask low, high;
  for (int i = 0; i < LANES; ++i) {
    const int source = i / HALF, within = i % HALF;
    const int first = source * 2 * HALF + within;
    low[i] = first;
    high[i] = first + HALF;
  }
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

template <int HALF>
inline void halve(Lanes* v) {
  for (int i = 0; i < HALF; ++i) v[i] = fold<HALF>(v[2 * i], v[2 * i + 1]);
  if constexpr (HALF > 1) halve<HALF / 2>(v);
}

// The same sums of eight vectors of eight: halves are paired first, and all other shuffles stay within halves, as the
// instructions on vectors of 256 bits do.
template <typename Vector>
inline __attribute__((always_inline)) Vector sums_of_eight(const Vector* v) {
  using Places = decltype(Vector{} < Vector{});
  Vector four[4], two[2];
  for (int i = 0; i < 4; ++i)
    four[i] = __builtin_shuffle(v[i], v[i + 4], Places{0, 1, 2, 3, 8, 9, 10, 11}) +
              __builtin_shuffle(v[i], v[i + 4], Places{4, 5, 6, 7, 12, 13, 14, 15});
  for (int i = 0; i < 2; ++i)
    two[i] = __builtin_shuffle(four[2 * i], four[2 * i + 1], Places{0, 1, 8, 9, 4, 5, 12, 13}) +
             __builtin_shuffle(four[2 * i], four[2 * i + 1], Places{2, 3, 10, 11, 6, 7, 14, 15});
  return __builtin_shuffle(two[0], two[1], Places{0, 2, 8, 10, 4, 6, 12, 14}) +
         __builtin_shuffle(two[0], two[1], Places{1, 3, 9, 11, 5, 7, 13, 15});
}

template <int COUNT = LANES>
inline Lanes sums(const Lanes* v) {
  if constexpr (COUNT == 8) {
    return sums_of_eight(v);
  } else {
    Lanes parts[COUNT];
    for (int i = 0; i < COUNT; ++i) parts[i] = v[i];
    halve<COUNT / 2>(parts);
    return parts[0];
  }
}

// into[i] += sum of the lanes of v[i].
inline void add_sums(const Lanes* v, int count, real* into) {
  int done = 0;
  for (; done + LANES <= count; done += LANES) {
    Lanes old;
    const Lanes s = sums(v + done);
    std::memcpy(&old, into + done, sizeof old);
    old += s;
    std::memcpy(into + done, &old, sizeof old);
  }
  if (done < count) {
    Lanes padded[LANES] = {};
    for (int i = done; i < count; ++i) padded[i - done] = v[i];
    const Lanes s = sums(padded);
    for (int i = done; i < count; ++i) into[i] += s[i - done];
  }
}

inline real sum(Lanes v) {
  real total = 0;
  add_sums(&v, 1, &total);
  return total;
}

// Rows become columns: v[i][j] and v[j][i] are exchanged, in steps of HALF lanes.
template <int HALF = LANES / 2>
inline __attribute__((always_inline)) void transpose(Lanes (&v)[LANES]) {
  Mask low, high;
  for (int i = 0; i < LANES; ++i) {
    low[i] = i & HALF ? LANES + i - HALF : i;
    high[i] = i & HALF ? LANES + i : i + HALF;
  }
#pragma GCC unroll 16
  for (int i = 0; i < LANES; ++i)
    if (!(i & HALF)) {
      const Lanes a = v[i], b = v[i + HALF];
      v[i] = __builtin_shuffle(a, b, low), v[i + HALF] = __builtin_shuffle(a, b, high);
    }
  if constexpr (HALF > 1) transpose<HALF / 2>(v);
}

// Accumulators of a register tile: three quarters of the registers.
constexpr int TILE = VECTOR_BYTES == 64 ? 24 : 12;
