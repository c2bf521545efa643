// What the headers include of the standard library, for a compiler that comes without it (NVRTC). Its own functions of
// numbers have the names of C, for both precisions.
#pragma once

namespace std {

using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long;
using uint64_t = unsigned long;
using uintptr_t = unsigned long;

using ::atan;
using ::atan2;
using ::ceil;
using ::cos;
using ::erf;
using ::exp;
using ::floor;
using ::fmod;
using ::log;
using ::memcpy;
using ::nearbyint;
using ::pow;
using ::sin;
using ::sqrt;
using ::tanh;
using ::trunc;

template <typename T>
inline const T& min(const T& a, const T& b) { return b < a ? b : a; }
template <typename T>
inline const T& max(const T& a, const T& b) { return a < b ? b : a; }

template <typename A, typename B>
constexpr bool is_same_v = false;
template <typename A>
constexpr bool is_same_v<A, A> = true;

template <bool CONDITION, typename A, typename B>
struct conditional { using type = A; };
template <typename A, typename B>
struct conditional<false, A, B> { using type = B; };
template <bool CONDITION, typename A, typename B>
using conditional_t = typename conditional<CONDITION, A, B>::type;

template <typename T>
struct numeric_limits {
  static constexpr T infinity() { return static_cast<T>(__builtin_bit_cast(double, 0x7FF0000000000000)); }
  static constexpr T quiet_NaN() { return static_cast<T>(__builtin_bit_cast(double, 0x7FF8000000000000)); }
};

}  // namespace std
