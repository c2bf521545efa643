// Functions of single numbers in generated programs, for vectors of examples and for scalars alike.
#pragma once

#include <limits>

#include "lanes.h"

constexpr real INFINITELY_LARGE = std::numeric_limits<real>::infinity();
constexpr real NOT_A_NUMBER = std::numeric_limits<real>::quiet_NaN();

#ifndef ONE_LANE
inline Lanes lanes(Lanes value) { return value; }
#endif

// The numbers of a batch as one array.
template <typename Number, int COUNT>
inline const Number* whole(const Number (&numbers)[COUNT]) {
  return numbers;
}
template <typename Number, int ROWS, int COLUMNS>
inline const Number* whole(const Number (&numbers)[ROWS][COLUMNS]) {
  return &numbers[0][0];
}

inline Lanes real_numbers(Ints x) { return __builtin_convertvector(x, Lanes); }

// As many numbers of a row as there are lanes.
inline Lanes taken(const real* from) {
  Lanes found;
  std::memcpy(&found, from, sizeof found);
  return found;
}
inline void put(Lanes numbers, real* to) { std::memcpy(to, &numbers, sizeof numbers); }

namespace on_numbers {

inline real exp(real x) { return std::exp(x); }
inline real log(real x) { return std::log(x); }
inline real tanh(real x) { return std::tanh(x); }
inline real root(real x) { return std::sqrt(x); }
#ifndef ONE_LANE
inline Lanes exp(Lanes x) { return ::exp(x); }
inline Lanes log(Lanes x) { return ::log(x); }
inline Lanes tanh(Lanes x) { return ::tanh(x); }
inline Lanes root(Lanes x) { return ::root(x); }
#endif

// What is not a number stays so, as in torch.
template <typename T>
inline T larger(T a, T b) {
  const T most = a < b ? b : a;
  return b != b ? b : most;
}

// The larger number, where one is not a number the other or that.
template <typename T>
inline T larger_number(T a, T b) { return a > b ? a : b; }

template <typename T>
inline T smaller(T a, T b) {
  const T least = a > b ? b : a;
  return b != b ? b : least;
}
template <typename T>
inline T inverse(T x) { return 1 / x; }
template <typename T>
inline T inverse_root(T x) { return 1 / root(x); }
// -p log p, and 0 where p is.
template <typename T>
inline T entropy_term(T p, T log_p) { return p != 0 ? -p * log_p : T{}; }
template <typename T>
inline T sigmoid(T x) { return 1 / (1 + exp(-x)); }
template <typename T>
inline T rectified(T x) { return x < 0 ? T{} : x; }
template <typename T>
inline T size_of(T x) { return x < 0 ? -x : x; }

// Truth values are 0 and 1.
template <typename T>
inline T either(T condition, T a, T b) { return condition != 0 ? a : b; }
template <typename T>
inline T equals(T a, T b) { return a == b ? T{} + 1 : T{}; }
template <typename T>
inline T differs(T a, T b) { return a != b ? T{} + 1 : T{}; }
template <typename T>
inline T is_below(T a, T b) { return a < b ? T{} + 1 : T{}; }
template <typename T>
inline T is_at_most(T a, T b) { return a <= b ? T{} + 1 : T{}; }
template <typename T>
inline T is_above(T a, T b) { return a > b ? T{} + 1 : T{}; }
template <typename T>
inline T is_at_least(T a, T b) { return a >= b ? T{} + 1 : T{}; }
template <typename T>
inline T negation(T x) { return 1 - x; }
template <typename T>
inline T sign(T x) { return is_above(x, T{}) - is_below(x, T{}); }

inline real sine(real x) { return std::sin(x); }
inline real cosine(real x) { return std::cos(x); }
#ifndef ONE_LANE
inline Lanes sine(Lanes x) {
  return each(x, [](real v) { return std::sin(v); });
}
inline Lanes cosine(Lanes x) {
  return each(x, [](real v) { return std::cos(v); });
}

// Functions that are computed number by number.
template <typename F>
__attribute__((noinline)) Lanes each_pair(Lanes x, Lanes y, F function) {
#pragma GCC unroll 1
  for (int i = 0; i < LANES; ++i) x[i] = function(x[i], y[i]);
  return x;
}
#endif
inline real power(real x, real exponent) { return std::pow(x, exponent); }
inline real angle(real y, real x) { return std::atan2(y, x); }
inline real rest(real x, real by) { return std::fmod(x, by); }
// Of the sign of the divisor.
inline real modulo(real x, real by) {
  const real found = std::fmod(x, by);
  return found != 0 && (found < 0) != (by < 0) ? found + by : found;
}
inline real arc_tangent(real x) { return std::atan(x); }
inline real lower_whole(real x) { return std::floor(x); }
inline real whole_quotient(real x, real y) { return std::floor(x / y); }
inline real whole_remainder(real x, real y) { return x - y * whole_quotient(x, y); }
inline Ints whole_numbers(Lanes x) { return __builtin_convertvector(x, Ints); }
inline real upper_whole(real x) { return std::ceil(x); }
inline real nearest_whole(real x) { return std::nearbyint(x); }
inline real whole_part(real x) { return std::trunc(x); }
#ifndef ONE_LANE
inline Lanes power(Lanes x, Lanes exponent) {
  return each_pair(x, exponent, [](real v, real w) { return power(v, w); });
}
inline Lanes angle(Lanes y, Lanes x) {
  return each_pair(y, x, [](real v, real w) { return angle(v, w); });
}
inline Lanes rest(Lanes x, Lanes by) {
  return each_pair(x, by, [](real v, real w) { return rest(v, w); });
}
inline Lanes modulo(Lanes x, Lanes by) {
  return each_pair(x, by, [](real v, real w) { return modulo(v, w); });
}
inline Lanes arc_tangent(Lanes x) {
  return each(x, [](real v) { return std::atan(v); });
}
inline Lanes lower_whole(Lanes x) {
  return each(x, [](real v) { return std::floor(v); });
}
inline Lanes upper_whole(Lanes x) {
  return each(x, [](real v) { return std::ceil(v); });
}
inline Lanes nearest_whole(Lanes x) {
  return each(x, [](real v) { return std::nearbyint(v); });
}
inline Lanes whole_part(Lanes x) {
  return each(x, [](real v) { return std::trunc(v); });
}

// Of whole numbers that reals hold exactly, y > 0: the quotient is rounded to no whole number that it is not.
inline Lanes whole_quotient(Lanes x, Lanes y) {
  const Lanes found = x / y, whole = real_numbers(whole_numbers(found));
  return whole > found ? whole - 1 : whole;
}
inline Lanes whole_remainder(Lanes x, Lanes y) { return x - y * whole_quotient(x, y); }

// Rational approximation on [-3.8, 3.8], where erf is 1 to single precision beyond (as in Eigen).
inline Floats erf(Floats x) {
  x = between(x, -3.832506856900711f, 3.832506856900711f);
  const Floats z = x * x;
  Floats p = 0.00022905065861350646f * z + 0.0034082910107109506f;
  p = p * z + 0.050955695062380861f;
  p = p * z + 0.18520832239976145f;
  p = p * z + 1.128379143519084f;
  Floats q = -1.1791602954361697e-7f * z + 2.3547966471313185e-05f;
  q = q * z + 0.0010179625278914885f;
  q = q * z + 0.014070470171167667f;
  q = q * z + 0.11098505178285362f;
  q = q * z + 0.49746925110067538f;
  q = q * z + 1.0f;
  return x * p / q;
}
inline Doubles erf(Doubles x) {
  return each(x, [](double v) { return std::erf(v); });
}
#endif
inline real erf(real x) { return std::erf(x); }

}  // namespace on_numbers

#include "tables.h"
