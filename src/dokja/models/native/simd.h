// Vectors of floats in the width of the machine, through compiler extensions that GCC and Clang share.
// Everything that must round the same way in every kernel (exponential, sums) is here once.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <utility>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__AVX512F__)
#define DOKJA_LANES 16
#elif defined(__AVX2__)
#define DOKJA_LANES 8
#else
#define DOKJA_LANES 4
#endif

namespace dokja {

constexpr int W = DOKJA_LANES;
typedef float Vec __attribute__((vector_size(DOKJA_LANES * 4)));
typedef int32_t Int __attribute__((vector_size(DOKJA_LANES * 4)));

inline Vec load(const float* p) { Vec v; std::memcpy(&v, p, sizeof v); return v; }
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
inline Vec splat(float s) { return s - Vec{}; }

// The first n < W floats of p, zeros behind them; and their store.
#if defined(__AVX512F__)
inline Vec load(const float* p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
inline void store(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
inline float sum(Vec v) { return _mm512_reduce_add_ps(v); }
inline Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
#else
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }
inline Vec load(const float* p, int n) { float a[W] = {}; for (int i = 0; i < n; i++) a[i] = p[i]; return load(a); }
inline void store(float* p, Vec v, int n) { float a[W]; store(a, v); for (int i = 0; i < n; i++) p[i] = a[i]; }
inline float sum(Vec v) {
  float a[W];
  store(a, v);
  for (int half = W / 2; half; half /= 2)
    for (int i = 0; i < half; i++) a[i] += a[i + half];
  return a[0];
}
#endif

inline float max(Vec v) {
  float a[W];
  store(a, v);
  for (int half = W / 2; half; half /= 2)
    for (int i = 0; i < half; i++) a[i] = a[i] > a[i + half] ? a[i] : a[i + half];
  return a[0];
}

// Calls f(offset, lanes) for whole vectors, then f(offset, rest): f loads and stores through the helpers below.
inline Vec load_n(const float* p, int n) { return n == W ? load(p) : load(p, n); }
inline void store_n(float* p, Vec v, int n) { n == W ? store(p, v) : store(p, v, n); }
template <class F> inline __attribute__((always_inline)) void vectors(int64_t n, F f) {
  int64_t i = 0;
  for (; i + W <= n; i += W) f(i, W);
  if (i < n) f(i, (int)(n - i));
}

// exp(x) within 1.5 ulp on [-87, 88], 0 below, exp(88) above: 2^n (1 + r + r^2 p(r)), |r| <= ln(2) / 2, where p is a
// least-maximum fit with relative error 3e-9. Adding 1.5 * 2^23 rounds to an integer that sits in the low bits.
inline Vec exp(Vec x) {
  const Vec clamped = x > 88.0f ? splat(88.0f) : x;
  const Vec shifted = clamped * 1.44269504f + 12582912.0f;
  const Int n = (Int)shifted - 0x4B400000;
  const Vec whole = shifted - 12582912.0f;
  const Vec r = (clamped - whole * 0.693145752f) - whole * 1.42860677e-6f;
  Vec p = r * 1.381458075e-03f + 8.368725399e-03f;
  p = p * r + 4.166838888e-02f;
  p = p * r + 1.666652056e-01f;
  p = p * r + 4.999999344e-01f;
  p = p * (r * r) + r + 1.0f;
  return x < -87.0f ? Vec{} : p * (Vec)((n + 127) << 23);
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

// Transposes W vectors in place: log2(W) rounds, each exchanging off-diagonal squares of HALF x HALF.
template <int HALF, int... I>
inline void exchange(Vec& a, Vec& b, std::integer_sequence<int, I...>) {
  const Vec x = a, y = b;
#ifdef __clang__
  a = __builtin_shufflevector(x, y, (I & HALF ? W + I - HALF : I)...);
  b = __builtin_shufflevector(x, y, (I & HALF ? W + I : I + HALF)...);
#else
  a = __builtin_shuffle(x, y, Int{(I & HALF ? W + I - HALF : I)...});
  b = __builtin_shuffle(x, y, Int{(I & HALF ? W + I : I + HALF)...});
#endif
}
template <int HALF> inline void transpose(Vec (&r)[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++)
    if (!(i & HALF)) exchange<HALF>(r[i], r[i + HALF], std::make_integer_sequence<int, W>());
  if constexpr (HALF > 1) transpose<HALF / 2>(r);
}

// Runs f(begin, end, thread) over [0, n), cut evenly among threads.
template <class F> inline void parallel(int64_t n, int threads, F f) {
#ifdef _OPENMP
  if (threads > 1 && n > 1) {
    const int count = (int)(n < threads ? n : threads);
#pragma omp parallel for num_threads(count) schedule(static, 1)
    for (int t = 0; t < count; t++) f(n * t / count, n * (t + 1) / count, t);
    return;
  }
#endif
  f(0, n, 0);
}

// Floats that a thread keeps from call to call, so that kernels neither allocate nor fault pages; 64-byte aligned.
class Scratch {
 public:
  float* get(size_t n) {
    if (n > size_) {
      std::free(data_);
      size_ = n + n / 4 + 64;
      data_ = static_cast<float*>(std::aligned_alloc(64, (size_ * 4 + 63) / 64 * 64));
    }
    return data_;
  }
  ~Scratch() { std::free(data_); }

 private:
  float* data_ = nullptr;
  size_t size_ = 0;
};

inline Scratch& thread_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

}  // namespace dokja
