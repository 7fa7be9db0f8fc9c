// A matrix product for operands that fit the cache: no packing inside, tiles held in registers; and what packs them.
#pragma once

#include "simd.h"

namespace dokja {

// Rows of a tile: 8 x 3 accumulators fill AVX-512's and NEON's 32 registers, 4 x 3 the 16 of AVX2.
constexpr int TILE = DOKJA_LANES == 8 ? 4 : 8;
constexpr int64_t ROWS = 8;  // what callers pad rows to, on every machine

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// One tile of TILE rows and N vectors. Every element is one chain of fused multiply-adds over k in order, so its bits
// do not depend on where in a tile it falls. AM is the step from row to row of a, 0 when only `am` knows it.
template <int64_t AM, int N>
inline void tile(int64_t depth, const float* a, int64_t am, int64_t ak, const float* b, int64_t bk, float* c, int64_t cm,
                 bool add) {
  const int64_t step = AM ? AM : am;
  Vec sum[TILE][N];
#pragma GCC unroll 8
  for (int m = 0; m < TILE; m++)
#pragma GCC unroll 3
    for (int n = 0; n < N; n++) sum[m][n] = add ? load(c + m * cm + n * W) : Vec{};
  for (int64_t k = 0; k < depth; k++, a += ak, b += bk) {
    Vec right[N];
#pragma GCC unroll 3
    for (int n = 0; n < N; n++) right[n] = load(b + n * W);
#pragma GCC unroll 8
    for (int m = 0; m < TILE; m++) {
      const Vec left = splat(a[m * step]);
#pragma GCC unroll 3
      for (int n = 0; n < N; n++) sum[m][n] += left * right[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < TILE; m++)
#pragma GCC unroll 3
    for (int n = 0; n < N; n++) store(c + m * cm + n * W, sum[m][n]);
}

// c[m, n] (+)= sum over k of a[m * am + k * ak] * b[k * bk + n]. m is a multiple of ROWS, n of W.
template <int64_t AM>
inline void gemm_strided(int64_t m, int64_t n, int64_t depth, const float* a, int64_t am, int64_t ak, const float* b,
                         int64_t bk, float* c, int64_t cm, bool add) {
  for (int64_t j = 0; j < n;) {
    const int64_t left = (n - j) / W;
    const int width = left == 4 ? 2 : left < 3 ? (int)left : 3;
    for (int64_t i = 0; i < m; i += TILE) {
      if (width == 3) tile<AM, 3>(depth, a + i * am, am, ak, b + j, bk, c + i * cm + j, cm, add);
      else if (width == 2) tile<AM, 2>(depth, a + i * am, am, ak, b + j, bk, c + i * cm + j, cm, add);
      else tile<AM, 1>(depth, a + i * am, am, ak, b + j, bk, c + i * cm + j, cm, add);
    }
    j += width * W;
  }
}

// The same where am is known when compiling, so that a tile's rows are fixed offsets from one pointer.
template <int64_t AM>
inline void gemm(int64_t m, int64_t n, int64_t depth, const float* a, int64_t ak, const float* b, int64_t bk, float* c,
                 int64_t cm, bool add) {
  gemm_strided<AM>(m, n, depth, a, AM, ak, b, bk, c, cm, add);
}

// The same for an a whose rows lie as they do in memory, am apart.
inline void gemm_rows(int64_t m, int64_t n, int64_t depth, const float* a, int64_t am, const float* b, int64_t bk,
                      float* c, int64_t cm, bool add) {
  gemm_strided<0>(m, n, depth, a, am, 1, b, bk, c, cm, add);
}

// out[d, i] = rows[i][d] * factor for W rows.
inline void pack_transposed(const float* const* rows, int64_t dim, float factor, float* out, int64_t stride) {
  vectors(dim, [&](int64_t d, int n) {
    Vec r[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) r[i] = load_n(rows[i] + d, n);
    transpose<W / 2>(r);
    for (int i = 0; i < n; i++) store(out + (d + i) * stride, r[i] * factor);
  });
}

// rows[i][d] = in[d, i] * factor[i] for up to W rows.
inline void unpack_transposed(const float* in, int64_t stride, int64_t dim, Vec factor, float* const* rows, int count) {
  vectors(dim, [&](int64_t d, int n) {
    Vec r[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) r[i] = i < n ? load(in + (d + i) * stride) * factor : Vec{};
    transpose<W / 2>(r);
#pragma GCC unroll 16
    for (int i = 0; i < W; i++)
      if (i < count) store_n(rows[i] + d, r[i], n);
  });
}

inline void copy(const float* from, int64_t n, float* to) {
  vectors(n, [&](int64_t i, int part) { store_n(to + i, load_n(from + i, part), part); });
}

}  // namespace dokja
