// What the serving kernels hold: packed weights, and rows of activations as 16-bit integers.
//
// A matrix is cut into panels of 16 outputs, so that one vector of integers serves 16 outputs of one row and a panel is
// read as one stream. int8: w = scale * (q - 128), a scale for each output and 64 inputs; int4: w = scale * q + low, for
// each output and 32 inputs, q in 0..15. Scales are bfloat16: the weights were rounded to the scale that is stored.
// Activations are rounded to 16 bits under one scale a row: their error is far below that of 8-bit weights. Sums of
// products are then exact integers, and only their combination over groups is floating point, in the order of groups:
// whatever path computes them, and beside whatever other rows, the bits are the same.
#pragma once

#include "../../models/native/simd.h"
#include "pool.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define DOKJA_VNNI 1
#endif

namespace dokja {

enum Kind : int64_t { FP32 = 0, INT8 = 1, INT4 = 2 };
constexpr int PANEL = 16, GROUP = 64, HALF = 32;
constexpr int64_t FLOATS = 4 * W;  // outputs of a panel of floats
constexpr float TOP = 32639.0f;    // the largest whose upper byte, rounded, is at most 127

inline int64_t ceil_div(int64_t n, int64_t by) { return (n + by - 1) / by; }

struct Matrix {  // the same fields as `Matrix` in native/__init__.py
  const uint8_t* data;
  const float* bias;  // or null
  int64_t outputs, inputs, kind;

  int64_t groups() const { return ceil_div(inputs, GROUP); }
  int64_t wide() const { return kind == FP32 ? FLOATS : PANEL; }
  int64_t panels() const { return ceil_div(outputs, wide()); }
  // Bytes of weights in a panel, and of all of it.
  int64_t weights() const { return kind == FP32 ? inputs * FLOATS * 4 : groups() * (kind == INT8 ? 1024 : 512); }
  int64_t panel_bytes() const { return weights() + (kind == FP32 ? 0 : groups() * (kind == INT8 ? 32 : 128)); }
  const uint8_t* panel(int64_t i) const { return data + i * panel_bytes(); }
};

// Asks for large pages (2 MB) under memory that is about to be written first: weights are read from end to end in every
// step, and with pages of 4 KB a core waits for addresses. A refusal costs nothing.
inline void large_pages(void* memory, size_t bytes) {
#ifdef __linux__
  const uintptr_t page = 4096, begin = ((uintptr_t)memory + page - 1) & ~(page - 1);
  const uintptr_t end = ((uintptr_t)memory + bytes) & ~(page - 1);
  if (bytes >= (4u << 20)) madvise((void*)begin, end - begin, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

// Memory that a thread keeps, one piece for each purpose.
template <int PURPOSE> inline float* keep(size_t floats) {
  static thread_local Scratch scratch;
  return scratch.get(floats);
}

// Rows of 16-bit integers with `padded` inputs, a multiple of GROUP: as two planes of bytes where there are
// instructions for bytes (x = 256 hi + lo), else as they are.
struct Rows {
  int64_t count, padded;
  int8_t *hi, *lo;
  int16_t* whole;
  int32_t* sums;  // of each HALF
  float* scale;

  static size_t floats(int64_t count, int64_t padded) {
    return (size_t)(ceil_div(count, 16) * 16) * (padded / 2 + padded / HALF + 1) + 64;
  }
  // Rows behind the last up to a multiple of 16 may be read but mean nothing.
  Rows(int64_t n, int64_t inputs, float* memory) : count(n), padded(ceil_div(inputs, GROUP) * GROUP) {
    const int64_t room = ceil_div(n, 16) * 16;
    hi = (int8_t*)memory;
    lo = hi + room * padded;
    whole = (int16_t*)memory;
    sums = (int32_t*)(memory + room * padded / 2);
    scale = (float*)(sums + room * (padded / HALF));
  }

  void set(int64_t row, const float* x, int64_t inputs) {
    Vec top{};
    vectors(inputs, [&](int64_t i, int n) {
      const Vec v = load_n(x + i, n);
      top = max(top, max(v, -v));
    });
    const float largest = max(top), inverse = largest > 0.0f ? TOP / largest : 0.0f;
    scale[row] = largest / TOP;
    alignas(64) int32_t q[HALF];
    for (int64_t h = 0; h < padded / HALF; h++) {
      const int64_t left = std::min<int64_t>(HALF, inputs - h * HALF);
      for (int i = 0; i < HALF; i += W) {
        const int n = (int)std::max<int64_t>(0, std::min<int64_t>(W, left - i));
        // Adding 1.5 * 2^23 rounds to the nearest integer, which then sits in the low bits.
        const Vec shifted = (n ? load_n(x + h * HALF + i, n) : Vec{}) * inverse + 12582912.0f;
        const Int whole_numbers = (Int)shifted - 0x4B400000;
        std::memcpy(q + i, &whole_numbers, sizeof whole_numbers);
      }
      int32_t sum = 0;
      for (int i = 0; i < HALF; i++) sum += q[i];
      sums[row * (padded / HALF) + h] = sum;
      const int64_t at = row * padded + h * HALF;
#ifdef DOKJA_VNNI
      for (int i = 0; i < HALF; i++) {
        const int32_t upper = (q[i] + 128) >> 8;
        hi[at + i] = (int8_t)upper;
        lo[at + i] = (int8_t)(q[i] - upper * 256);
      }
#else
      for (int i = 0; i < HALF; i++) whole[at + i] = (int16_t)q[i];
#endif
    }
  }
};

inline float bf16(uint16_t bits) {
  const uint32_t wide = (uint32_t)bits << 16;
  float f;
  std::memcpy(&f, &wide, 4);
  return f;
}

}  // namespace dokja
