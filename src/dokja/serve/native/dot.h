// One panel of 16 outputs times R rows, group by group: exact integer sums, combined in float in the order of groups.
#pragma once

#include "packed.h"

namespace dokja {

#ifdef DOKJA_VNNI

typedef __m512i Sums;
inline __m512 scales(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
inline __m512i four(const int8_t* p) { int32_t v; std::memcpy(&v, p, 4); return _mm512_set1_epi32(v); }
// Results that no cache will hold (the logits of many rows) go past it: a line need not be read to be overwritten.
inline void put(float* to, int lanes, __m512 value, bool past_cache) {
  if (past_cache && lanes == PANEL && ((uintptr_t)to & 63) == 0) _mm512_stream_ps(to, value);
  else _mm512_mask_storeu_ps(to, (__mmask16)((1u << lanes) - 1), value);
}
inline __m512i whole(__m512i hi, __m512i lo) { return _mm512_add_epi32(_mm512_slli_epi32(hi, 8), lo); }

template <int R> inline void panel_int8(const uint8_t* panel, int64_t groups, const Rows& x, int64_t row, float* out,
                                        int64_t ldo, int lanes, const float* bias, bool past_cache) {
  const uint16_t* scale = (const uint16_t*)(panel + groups * 1024);
  __m512 total[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) total[r] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; g++, panel += 1024) {
    __m512i hi[R], lo[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) hi[r] = lo[r] = _mm512_setzero_si512();
    const int8_t *h = x.hi + row * x.padded + g * GROUP, *l = x.lo + row * x.padded + g * GROUP;
#pragma GCC unroll 4
    for (int q = 0; q < 16; q++) {
      const __m512i w = _mm512_loadu_si512(panel + q * 64);
      if (R <= 2) _mm_prefetch((const char*)panel + q * 64 + 4096, _MM_HINT_T0);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        hi[r] = _mm512_dpbusd_epi32(hi[r], w, four(h + r * x.padded + q * 4));
        lo[r] = _mm512_dpbusd_epi32(lo[r], w, four(l + r * x.padded + q * 4));
      }
    }
    const __m512 s = scales(scale + g * PANEL);
    if (R <= 2) _mm_prefetch((const char*)(scale + g * PANEL) + 4096, _MM_HINT_T0);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const int32_t* sums = x.sums + (row + r) * (x.padded / HALF) + 2 * g;
      const __m512i sum = _mm512_sub_epi32(whole(hi[r], lo[r]), _mm512_set1_epi32(128 * (sums[0] + sums[1])));
      total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), s, total[r]);
    }
  }
  const __m512 b = bias ? _mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), bias) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
    put(out + r * ldo, lanes, _mm512_fmadd_ps(total[r], _mm512_set1_ps(x.scale[row + r]), b), past_cache);
}

template <int R> inline void panel_int4(const uint8_t* panel, int64_t groups, const Rows& x, int64_t row, float* out,
                                        int64_t ldo, int lanes, const float* bias, bool past_cache) {
  const uint16_t *scale = (const uint16_t*)(panel + groups * 512), *low = scale + groups * 2 * PANEL;
  const __m512i nibble = _mm512_set1_epi8(15);
  __m512 total[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) total[r] = _mm512_setzero_ps();
  for (int64_t g = 0; g < 2 * groups; g++, panel += 256) {
    __m512i hi[R], lo[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) hi[r] = lo[r] = _mm512_setzero_si512();
    const int8_t *h = x.hi + row * x.padded + g * HALF, *l = x.lo + row * x.padded + g * HALF;
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      const __m512i both = _mm512_loadu_si512(panel + q * 64);
      if (R <= 2) _mm_prefetch((const char*)panel + q * 64 + 4096, _MM_HINT_T0);
      const __m512i w0 = _mm512_and_si512(both, nibble), w1 = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const int8_t *a = h + r * x.padded + q * 4, *b = l + r * x.padded + q * 4;
        hi[r] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(hi[r], w0, four(a)), w1, four(a + 16));
        lo[r] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(lo[r], w0, four(b)), w1, four(b + 16));
      }
    }
    const __m512 s = scales(scale + g * PANEL), m = scales(low + g * PANEL);
    if (R <= 2) _mm_prefetch((const char*)(scale + g * PANEL) + 4096, _MM_HINT_T0);
    if (R <= 2) _mm_prefetch((const char*)(low + g * PANEL) + 4096, _MM_HINT_T0);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_set1_epi32(x.sums[(row + r) * (x.padded / HALF) + g]));
      total[r] = _mm512_fmadd_ps(sum, m, _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole(hi[r], lo[r])), s, total[r]));
    }
  }
  const __m512 b = bias ? _mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), bias) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
    put(out + r * ldo, lanes, _mm512_fmadd_ps(total[r], _mm512_set1_ps(x.scale[row + r]), b), past_cache);
}

#else  // sums of one row over HALF inputs, then the same combination

// sums[n] += sum over 32 inputs of w[quad][n][4] * x.
#if defined(__AVX2__)
inline void half(const uint8_t* w, const int16_t* x, int32_t* sums) {
  __m256i total[4] = {};
  for (int q = 0; q < 8; q++) {
    int64_t four;
    std::memcpy(&four, x + q * 4, 8);
    const __m256i right = _mm256_set1_epi64x(four);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const __m256i left = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(w + q * 64 + i * 16)));
      total[i] = _mm256_add_epi32(total[i], _mm256_madd_epi16(left, right));
    }
  }
  // Each output's two parts stand side by side; hadd keeps to the 128-bit lanes, the permutation puts them in order.
  for (int i = 0; i < 2; i++) {
    const __m256i pairs = _mm256_permute4x64_epi64(_mm256_hadd_epi32(total[2 * i], total[2 * i + 1]), 0xD8);
    __m256i* at = (__m256i*)(sums + 8 * i);
    _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), pairs));
  }
}
#else
inline void half(const uint8_t* w, const int16_t* x, int32_t* sums) {
  for (int q = 0; q < 8; q++)
    for (int n = 0; n < PANEL; n++)
      for (int k = 0; k < 4; k++) sums[n] += (int32_t)w[q * 64 + n * 4 + k] * x[q * 4 + k];
}
#endif

inline void unpack_half(const uint8_t* packed, uint8_t* w) {
  for (int i = 0; i < 256; i++) {
    w[i] = packed[i] & 15;
    w[256 + i] = packed[i] >> 4;
  }
}

inline void finish(const float* total, float scale, const float* bias, int lanes, float* out) {
  for (int n = 0; n < lanes; n++) out[n] = std::fma(total[n], scale, bias ? bias[n] : 0.0f);
}

template <int R> inline void panel_int8(const uint8_t* panel, int64_t groups, const Rows& x, int64_t row, float* out,
                                        int64_t ldo, int lanes, const float* bias, bool past_cache) {
  const uint16_t* scale = (const uint16_t*)(panel + groups * 1024);
  for (int r = 0; r < R; r++) {
    float total[PANEL] = {};
    for (int64_t g = 0; g < groups; g++) {
      const int64_t h = (row + r) * (x.padded / HALF) + 2 * g;
      int32_t sums[PANEL] = {};
      for (int i = 0; i < 2; i++) half(panel + g * 1024 + i * 512, x.whole + (h + i) * HALF, sums);
      const int32_t offset = 128 * (x.sums[h] + x.sums[h + 1]);
      for (int n = 0; n < PANEL; n++)
        total[n] = std::fma((float)(sums[n] - offset), bf16(scale[g * PANEL + n]), total[n]);
    }
    finish(total, x.scale[row + r], bias, lanes, out + r * ldo);
  }
}

template <int R> inline void panel_int4(const uint8_t* panel, int64_t groups, const Rows& x, int64_t row, float* out,
                                        int64_t ldo, int lanes, const float* bias, bool past_cache) {
  const uint16_t *scale = (const uint16_t*)(panel + groups * 512), *low = scale + groups * 2 * PANEL;
  float total[R][PANEL] = {};
  for (int64_t g = 0; g < 2 * groups; g++) {
    uint8_t w[512];
    unpack_half(panel + g * 256, w);
    for (int r = 0; r < R; r++) {
      const int64_t h = (row + r) * (x.padded / HALF) + g;
      int32_t sums[PANEL] = {};
      half(w, x.whole + h * HALF, sums);
      const float sum = (float)x.sums[h];
      for (int n = 0; n < PANEL; n++) {
        const float part = std::fma((float)sums[n], bf16(scale[g * PANEL + n]), total[r][n]);
        total[r][n] = std::fma(sum, bf16(low[g * PANEL + n]), part);
      }
    }
  }
  for (int r = 0; r < R; r++) finish(total[r], x.scale[row + r], bias, lanes, out + r * ldo);
}

#endif

// A panel of 4 W outputs in float32 times R rows: every output is one chain of fused multiply-adds over the inputs.
template <int R> inline void panel_fp32(const float* panel, int64_t inputs, const float* x, int64_t ldx, float* out,
                                        int64_t ldo, int64_t lanes, const float* bias) {
  Vec total[R][4] = {};
  for (int64_t k = 0; k < inputs; k++, panel += FLOATS) {
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      const Vec left = splat(x[r * ldx + k]);
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) total[r][i] += left * load(panel + i * W);
    }
  }
  for (int r = 0; r < R; r++)
    for (int i = 0; i < 4; i++)
      if (const int n = (int)std::min<int64_t>(W, lanes - i * W); n > 0)
        store_n(out + r * ldo + i * W, bias ? total[r][i] + load_n(bias + i * W, n) : total[r][i], n);
}

}  // namespace dokja
