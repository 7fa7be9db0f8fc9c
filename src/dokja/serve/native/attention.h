// Attention of up to LANES (query, head) pairs of one sequence and one key/value head over keys in pages.
//
// A score is W chains of products, one for each dimension modulo W, summed in one fixed tree; the softmax runs over
// blocks of KEYS positions and PART blocks, both counted from position 0. So what a lane gets is a function of its own
// position, whatever lanes it shares a call with: keys that it does not see have a probability of exactly 0.
#pragma once

#include "../../models/native/simd.h"

namespace dokja {

constexpr int LANES = 64, KEYS = 64, PART = 1024;
constexpr int TILE_LANES = W == 16 ? 4 : 2, TILE_KEYS = 4;  // their product: W sums at W = 16 and 8, 2 W at 4

struct Pages {  // of keys or of values of one layer and head: floats at base + page * by_page + place * by_place
  const float* base;
  int64_t by_page, by_place, dim, size;
  const float* at(const int32_t* table, int64_t position) const {
    return base + table[position / size] * by_page + position % size * by_place;
  }
};

struct Partial {  // of each lane: largest score, sum of exp(score - largest), and of those times values
  float *largest, *sum, *mixed;
};

// Sums of each of N vectors, in vector order: halves are added, pairs interleaved, until one vector holds all.
template <int HALF, int N> inline void fold(Vec (&r)[N]) {
  if constexpr (HALF > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < HALF; i++) {
      exchange<HALF>(r[i], r[i + HALF], std::make_integer_sequence<int, W>());
      r[i] += r[i + HALF];
    }
    fold<HALF / 2>(r);
  }
}

// score[l * KEYS + k] of TILE_LANES lanes and TILE_KEYS keys.
inline void score_tile(const float* const* q, const float* const* k, int64_t dim, float scale, float* const* score) {
  Vec sum[TILE_LANES][TILE_KEYS] = {};
  const auto add = [&](int64_t d, auto get) __attribute__((always_inline)) {
    Vec right[TILE_KEYS];
#pragma GCC unroll 4
    for (int j = 0; j < TILE_KEYS; j++) right[j] = get(k[j] + d);
#pragma GCC unroll 4
    for (int i = 0; i < TILE_LANES; i++) {
      const Vec left = get(q[i] + d);
#pragma GCC unroll 4
      for (int j = 0; j < TILE_KEYS; j++) sum[i][j] += left * right[j];
    }
  };
  int64_t d = 0;
  for (; d + W <= dim; d += W) add(d, [](const float* p) { return load(p); });
  if (d < dim) add(d, [&](const float* p) { return load(p, (int)(dim - d)); });
  Vec(&flat)[TILE_LANES * TILE_KEYS] = reinterpret_cast<Vec(&)[TILE_LANES * TILE_KEYS]>(sum);
  constexpr int EACH = W / TILE_KEYS;  // lanes whose scores one vector holds
#pragma GCC unroll 2
  for (int i = 0; i < TILE_LANES; i += EACH) {
    Vec(&some)[W] = reinterpret_cast<Vec(&)[W]>(flat[i * TILE_KEYS]);
    fold<W / 2>(some);
    alignas(64) float out[W];
    store(out, some[0] * scale);
#pragma GCC unroll 4
    for (int l = 0; l < EACH; l++) std::memcpy(score[i + l], out + l * TILE_KEYS, TILE_KEYS * 4);
  }
}

// mixed[l][0 .. 4 W) = mixed * factor + sum over keys of share * value, one chain in the order of keys.
template <int N> inline void mix_tile(int rows, const float* const* value, int first, int last, int64_t d,
                                      const float* share, const float* factor, float* mixed, int64_t dim, int cut) {
  Vec sum[4][N];
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) {
      const float* at = mixed + (r < rows ? r : 0) * dim + d + n * W;
      sum[r][n] = (n == N - 1 ? load_n(at, cut) : load(at)) * factor[r < rows ? r : 0];
    }
  for (int k = first; k < last; k++) {
    Vec right[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) right[n] = n == N - 1 ? load_n(value[k] + d + n * W, cut) : load(value[k] + d + n * W);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const Vec left = splat(share[(r < rows ? r : 0) * KEYS + k]);
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) sum[r][n] += left * right[n];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++)
    if (r < rows)
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) {
        float* at = mixed + r * dim + d + n * W;
        n == N - 1 ? store_n(at, sum[r][n], cut) : store(at, sum[r][n]);
      }
}

inline void mix(int lanes, const float* const* value, int first, int last, const float* share, const float* factor,
                float* mixed, int64_t dim) {
  constexpr int MOST = W == 16 ? 4 : 2;
  for (int64_t d = 0; d < dim;) {
    const int64_t left = (dim - d + W - 1) / W;
    const int n = (int)std::min<int64_t>(left, MOST), cut = (int)std::min<int64_t>(W, dim - d - (n - 1) * W);
    for (int l = 0; l < lanes; l += 4) {
      const int rows = std::min(4, lanes - l);
      const auto run = [&](auto count) {
        mix_tile<count()>(rows, value, first, last, d, share + l * KEYS, factor + l, mixed + l * dim, dim, cut);
      };
      if (n == 4) run(std::integral_constant<int, 4>());
      else if (n == 3) run(std::integral_constant<int, 3>());
      else if (n == 2) run(std::integral_constant<int, 2>());
      else run(std::integral_constant<int, 1>());
    }
    d += (int64_t)n * W;
  }
}

// Lanes against the positions [low, end) of one part. seen_from, seen_to: the positions that a lane sees.
inline void attend(int lanes, const float* const* q, const int64_t* seen_from, const int64_t* seen_to, const Pages& keys,
                   const Pages& values, const int32_t* table, int64_t low, int64_t end, float scale, Partial out) {
  alignas(64) float score[LANES * KEYS], factor[LANES];
  const float *k[KEYS + TILE_KEYS], *v[KEYS];
  for (int l = 0; l < lanes; l++) {
    out.largest[l] = -INFINITY;
    out.sum[l] = 0.0f;
  }
  std::memset(out.mixed, 0, lanes * values.dim * 4);
  for (int64_t block = low / KEYS * KEYS; block < end; block += KEYS) {
    const int first = (int)std::max<int64_t>(0, low - block), last = (int)std::min<int64_t>(KEYS, end - block);
    for (int i = first; i < last; i++) {
      k[i] = keys.at(table, block + i);
      v[i] = values.at(table, block + i);
    }
    const int begin = first / TILE_KEYS * TILE_KEYS;
    for (int i = begin; i < first; i++) k[i] = k[first];  // tiles are whole: what fills them is masked below
    for (int i = last; i % TILE_KEYS; i++) k[i] = k[last - 1];
    for (int l = 0; l < lanes; l += TILE_LANES) {
      const float* left[TILE_LANES];
      float spare[TILE_KEYS], *to[TILE_LANES];
      for (int j = begin; j < last; j += TILE_KEYS) {
        for (int i = 0; i < TILE_LANES; i++) {
          left[i] = q[l + i < lanes ? l + i : l];
          to[i] = l + i < lanes ? score + (l + i) * KEYS + j : spare;
        }
        score_tile(left, k + j, keys.dim, scale, to);
      }
    }
    for (int l = 0; l < lanes; l++) {
      float* row = score + l * KEYS;
      const int from = (int)std::max<int64_t>(first, std::min<int64_t>(KEYS, seen_from[l] - block));
      const int to = (int)std::min<int64_t>(last, std::max<int64_t>(0, seen_to[l] - block));
      for (int i = 0; i < from; i++) row[i] = -INFINITY;
      for (int i = std::max(from, to); i < KEYS; i++) row[i] = -INFINITY;
      Vec top = splat(-INFINITY);
      for (int i = 0; i < KEYS; i += W) top = max(top, load(row + i));
      const float before = out.largest[l], largest = std::max(before, max(top));
      const float base = largest == -INFINITY ? 0.0f : largest;
      Vec sum{};
      for (int i = 0; i < KEYS; i += W) {
        const Vec share = exp(load(row + i) - base);
        store(row + i, share);
        sum += share;
      }
      factor[l] = before == largest ? 1.0f : exp(splat(before - base))[0];
      out.largest[l] = largest;
      out.sum[l] = out.sum[l] * factor[l] + dokja::sum(sum);
    }
    mix(lanes, v, first, last, score, factor, out.mixed, values.dim);
  }
}

}  // namespace dokja
