// A matrix product for operands that fit the cache: no packing inside, tiles held in registers; and what packs them.
#pragma once

#include "simd.h"

#include <vector>

namespace dokja {

// Rows of a tile: 8 x 3 accumulators fill AVX-512's and NEON's 32 registers, 4 x 3 the 16 of AVX2.
constexpr int TILE = DOKJA_LANES == 8 ? 4 : 8;
constexpr int64_t ROWS = 8;  // what callers pad rows to, on every machine

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// The vector at p, of which only the first `last` lanes exist if CUT.
template <bool CUT> inline Vec load_cut(const float* p, int last) {
  if constexpr (CUT) return load(p, last);
  else return load(p);
}
template <bool CUT> inline void store_cut(float* p, Vec v, int last) {
  if constexpr (CUT) store(p, v, last);
  else store(p, v);
}

// Memory that a product reads next. Its tiles fetch it meanwhile, a little for each of their multiplications: at once,
// between tiles, they would wait for it.
struct Ahead {
  const char *at = nullptr, *end = nullptr;
  int64_t step = 0;

  // `size` floats at `next` (may be null) during a product of these sides; never faster than a line a multiplication.
  Ahead(const float* next, int64_t size, int64_t m, int64_t n, int64_t depth) {
    if (!next || !m) return;
    at = reinterpret_cast<const char*>(next), end = at + size * sizeof(float);
    step = std::min<int64_t>(64, (end - at) / (m / TILE * ((n + 3 * W - 1) / (3 * W)) * depth) + 1);
  }
};

// One tile of TILE rows and N vectors, the last of `last` lanes if CUT. Every element is one chain of fused
// multiply-adds over k in order, so its bits do not depend on where in a tile it falls. AM is the step from row to row
// of a, 0 when only `am` knows it.
template <int64_t AM, int N, bool CUT, bool FETCH>
inline void tile(int64_t depth, const float* a, int64_t am, int64_t ak, const float* b, int64_t bk, float* c, int64_t cm,
                 bool add, int last, const char* next, int64_t further) {
  const int64_t step = AM ? AM : am;
  Vec sum[TILE][N];
#pragma GCC unroll 8
  for (int m = 0; m < TILE; m++) {
#pragma GCC unroll 2
    for (int n = 0; n < N - 1; n++) sum[m][n] = add ? load(c + m * cm + n * W) : Vec{};
    sum[m][N - 1] = add ? load_cut<CUT>(c + m * cm + (N - 1) * W, last) : Vec{};
  }
  for (int64_t k = 0; k < depth; k++, a += ak, b += bk) {
    if constexpr (FETCH) __builtin_prefetch(next + k * further, 0, 2);
    Vec right[N];
#pragma GCC unroll 2
    for (int n = 0; n < N - 1; n++) right[n] = load(b + n * W);
    right[N - 1] = load_cut<CUT>(b + (N - 1) * W, last);
#pragma GCC unroll 8
    for (int m = 0; m < TILE; m++) {
      const Vec left = splat(a[m * step]);
#pragma GCC unroll 3
      for (int n = 0; n < N; n++) sum[m][n] += left * right[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < TILE; m++) {
#pragma GCC unroll 2
    for (int n = 0; n < N - 1; n++) store(c + m * cm + n * W, sum[m][n]);
    store_cut<CUT>(c + m * cm + (N - 1) * W, sum[m][N - 1], last);
  }
}

// c[m, n] (+)= sum over k of a[m * am + k * ak] * b[k * bk + n]. m is a multiple of ROWS.
template <int64_t AM, bool FETCH = false>
inline void gemm_strided(int64_t m, int64_t n, int64_t depth, const float* a, int64_t am, int64_t ak, const float* b,
                         int64_t bk, float* c, int64_t cm, bool add, Ahead* ahead = nullptr) {
  for (int64_t j = 0; j < n;) {
    const int64_t left = (n - j + W - 1) / W;
    const int width = left == 4 ? 2 : left < 3 ? (int)left : 3;
    const int last = (int)std::min<int64_t>(W, n - j - (width - 1) * W);
    for (int64_t i = 0; i < m; i += TILE) {
      const auto run = [&](auto vectors, auto cut) {
        if constexpr (FETCH)
          if (ahead->at < ahead->end) {
            tile<AM, vectors(), cut(), true>(depth, a + i * am, am, ak, b + j, bk, c + i * cm + j, cm, add, last,
                                             ahead->at, ahead->step);
            ahead->at += depth * ahead->step;
            return;
          }
        tile<AM, vectors(), cut(), false>(depth, a + i * am, am, ak, b + j, bk, c + i * cm + j, cm, add, last, nullptr,
                                          0);
      };
      const auto choose = [&](auto vectors) { last < W ? run(vectors, std::true_type()) : run(vectors, std::false_type()); };
      if (width == 3) choose(std::integral_constant<int, 3>());
      else if (width == 2) choose(std::integral_constant<int, 2>());
      else choose(std::integral_constant<int, 1>());
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
template <int64_t AM>
inline void gemm(int64_t m, int64_t n, int64_t depth, const float* a, int64_t ak, const float* b, int64_t bk, float* c,
                 int64_t cm, bool add, Ahead& ahead) {
  gemm_strided<AM, true>(m, n, depth, a, AM, ak, b, bk, c, cm, add, &ahead);
}

// The same for an a whose rows lie as they do in memory, am apart.
inline void gemm_rows(int64_t m, int64_t n, int64_t depth, const float* a, int64_t am, const float* b, int64_t bk,
                      float* c, int64_t cm, bool add) {
  gemm_strided<0>(m, n, depth, a, am, 1, b, bk, c, cm, add);
}

// The same, which fetches ahead.
inline void gemm_rows(int64_t m, int64_t n, int64_t depth, const float* a, int64_t am, const float* b, int64_t bk,
                      float* c, int64_t cm, bool add, Ahead& ahead) {
  gemm_strided<0, true>(m, n, depth, a, am, 1, b, bk, c, cm, add, &ahead);
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

// The same past the cache, for what is read again only when it has left it: an ordinary store first reads what it
// overwrites.
inline void stream(const float* from, int64_t n, float* to) {
  int64_t i = 0;
#if defined(__AVX512F__) || defined(__AVX2__)
  if (reinterpret_cast<uintptr_t>(to) % sizeof(Vec) == 0)
    for (; i + W <= n; i += W) {
#if defined(__AVX512F__)
      _mm512_stream_ps(to + i, (__m512)load(from + i));
#else
      _mm256_stream_ps(to + i, (__m256)load(from + i));
#endif
    }
#endif
  copy(from + i, n - i, to + i);
}

// One or the other for a row of an array of `size` floats, by whether the array would stay in the cache.
inline void copy_or_stream(const float* from, int64_t n, float* to, int64_t size) {
  size > 1 << 18 ? stream(from, n, to) : copy(from, n, to);
}

// The right side of a product, packed once for many rows: as panels of WIDE columns, each [depth, its columns], zeros
// behind the last column.
struct Panels {
  static constexpr int64_t WIDE = 3 * W, DEPTH = 192;  // DEPTH rows of a panel stay in the nearest cache
  static int64_t size(int64_t depth, int64_t n) { return depth * round_up(n, W); }

  // b [depth, n].
  static void pack(const float* b, int64_t depth, int64_t n, float* out) {
    for (int64_t j = 0, padded = round_up(n, W); j < padded; j += WIDE) {
      const int64_t wide = std::min(WIDE, padded - j), filled = std::min(wide, n - j);
      for (int64_t k = 0; k < depth; k++) {
        float* to = out + j * depth + k * wide;
        copy(b + k * n + j, filled, to);
        for (int64_t i = filled; i < wide; i++) to[i] = 0.0f;
      }
    }
  }

  // The transpose of w [n, depth].
  static void pack_transpose(const float* w, int64_t n, int64_t depth, float* out) {
    const std::vector<float> zeros(n % W ? depth : 0);
    for (int64_t j = 0, padded = round_up(n, W); j < padded; j += WIDE) {
      const int64_t wide = std::min(WIDE, padded - j);
      for (int64_t i = 0; i < wide; i += W) {
        const float* at[W];
        for (int64_t k = 0; k < W; k++) at[k] = j + i + k < n ? w + (j + i + k) * depth : zeros.data();
        pack_transposed(at, depth, 1.0f, out + j * depth + i, wide);
      }
    }
  }

  // c [m, n] = a [m, depth] @ the packed right side; `fetched`: the Ahead of a product that fetches.
  template <class... Fetched>
  static void multiply(int64_t m, int64_t n, int64_t depth, const float* a, int64_t am, const float* packed, float* c,
                       int64_t cm, Fetched&... fetched) {
    for (int64_t j = 0, padded = round_up(n, W); j < padded; j += WIDE) {
      const int64_t wide = std::min(WIDE, padded - j);
      for (int64_t k = 0; k < depth; k += DEPTH)
        gemm_rows(m, std::min(WIDE, n - j), std::min(DEPTH, depth - k), a + k, am, packed + j * depth + k * wide, wide,
                  c + j, cm, k > 0, fetched...);
    }
  }
};

}  // namespace dokja
