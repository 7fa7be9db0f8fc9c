// What is asked of one row of logits, in blocks of REACH.
#pragma once

#include "dot.h"

namespace dokja {

constexpr int64_t REACH = 256;  // BLOCK of engine/scan.py

// Copies n <= REACH floats to memory that is not read soon, and finds the largest.
inline float pass_on(const float* from, int64_t n, float* to) {
  Vec largest = splat(-INFINITY);
#ifdef DOKJA_VNNI
  for (int64_t i = 0; i < n; i += PANEL) {
    const int lanes = (int)std::min<int64_t>(PANEL, n - i);
    const __mmask16 mask = (__mmask16)((1u << lanes) - 1);
    const __m512 v = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), mask, from + i);
    put(to + i, lanes, v, true);
    largest = max(largest, (Vec)v);
  }
#else
  alignas(64) float last[W];
  for (int64_t i = 0; i < n; i += W) {
    const int64_t lanes = std::min<int64_t>(W, n - i);
    std::fill(last, last + W, -INFINITY);
    std::memcpy(last, from + i, lanes * 4);
    std::memcpy(to + i, last, lanes * 4);
    largest = max(largest, load(last));
  }
#endif
  return max(largest);
}

// The first place of the largest of x, of whose blocks of REACH `peak` has the largest.
inline int64_t place_of_largest(const float* x, const float* peak, int64_t n) {
  const int64_t blocks = ceil_div(n, REACH);
  float largest = -INFINITY;
  int64_t block = 0;
  for (int64_t b = 0; b < blocks; b++)
    if (peak[b] > largest) {
      largest = peak[b];
      block = b;
    }
  int64_t best = block * REACH;
  while (best + 1 < std::min(n, (block + 1) * REACH) && x[best] != largest) best++;
  return best;
}

// f(vector) for each of a block, the last one filled up with -inf.
template <class F> inline __attribute__((always_inline)) void in_block(const float* x, int64_t vocab, int64_t block, F f) {
  const int64_t first = block * REACH;
  if (first + REACH <= vocab) {
    for (int64_t i = 0; i < REACH; i += W) f(i / W, load(x + first + i));
    return;
  }
  float last[REACH];
  std::fill(last, last + REACH, -INFINITY);
  std::copy(x + first, x + vocab, last);
  for (int64_t i = 0; i < REACH; i += W) f(i / W, load(last + i));
}

// The largest of each block.
inline void find_peaks(const float* x, int64_t vocab, float* peaks) {
  for (int64_t b = 0; b < ceil_div(vocab, REACH); b++) {
    Vec m = splat(-INFINITY);
    in_block(x, vocab, b, [&](int64_t, Vec v) { m = max(m, v); });
    peaks[b] = max(m);
  }
}

// A block's share of sum exp((x - largest) * sharpness).
inline double block_mass(const float* x, int64_t vocab, int64_t block, float largest, float sharpness) {
  Vec s[4] = {};
  in_block(x, vocab, block, [&](int64_t i, Vec v) { s[i % 4] += exp((v - largest) * sharpness); });
  return sum((s[0] + s[1]) + (s[2] + s[3]));
}

}  // namespace dokja
