// Many rows through AMX: the same exact sums of the same groups, 16 rows by 16 outputs at once.
#pragma once

#include "dot.h"

#if defined(DOKJA_VNNI) && defined(__AMX_INT8__) && defined(__linux__)
#define DOKJA_AMX 1
#include <sys/syscall.h>
#include <unistd.h>

namespace dokja {

// The kernel gives a process the tiles only on request (arch_prctl ARCH_REQ_XCOMP_PERM of XFEATURE_XTILEDATA).
inline bool amx() {
  static const bool given = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return given;
}

// Tiles 0..3: sums of upper and lower bytes, two groups in flight; 4, 5: rows; 6, 7: weights.
class Tiles {
 public:
  Tiles(int rows, int inputs) {
    struct alignas(64) { uint8_t palette = 1, start = 0, zero[14] = {}; uint16_t bytes[16] = {}; uint8_t rows[16] = {}; } c;
    for (int i = 0; i < 8; i++) {
      c.bytes[i] = i < 4 || i > 5 ? 64 : inputs;
      c.rows[i] = i < 6 ? rows : inputs / 4;
    }
    _tile_loadconfig(&c);
  }
  ~Tiles() { _tile_release(); }
};

// One group of INPUTS (64 or 32) inputs of up to 16 rows into tiles HI and LO; then their sums in memory.
#define DOKJA_TILES(HI, LO, AH, AL, B, g)                        \
  do {                                                           \
    _tile_zero(HI);                                              \
    _tile_zero(LO);                                              \
    _tile_loadd(B, w + (int64_t)(g) * INPUTS * 16, 64);          \
    _tile_loadd(AH, hi + (int64_t)(g) * INPUTS, x.padded);       \
    _tile_loadd(AL, lo + (int64_t)(g) * INPUTS, x.padded);       \
    _tile_dpbsud(HI, AH, B);                                     \
    _tile_dpbsud(LO, AL, B);                                     \
  } while (0)

// w: the panel's bytes, one a weight, [inputs / 4][16][4]; coming: what will be read next from far memory, or null.
template <Kind KIND, int M>
inline void panel_tiles(const uint8_t* w, const uint16_t* scale, const uint16_t* low, const Rows& x, int64_t row,
                        int count, float* out, int64_t ldo, int lanes, const float* bias, bool past_cache,
                        const uint8_t* coming) {
  constexpr int INPUTS = KIND == INT8 ? GROUP : HALF, AHEAD = KIND == INT8 ? 1024 : 256;  // bytes of a group
  const int64_t groups = x.padded / INPUTS, halves = x.padded / HALF;
  const int8_t *hi = x.hi + row * x.padded, *lo = x.lo + row * x.padded;
  const int32_t* sums = x.sums + row * halves;
  alignas(64) int32_t buffer[2][2][M][PANEL];
  __m512 total[M];
#pragma GCC unroll 16
  for (int r = 0; r < M; r++) total[r] = _mm512_setzero_ps();
  const auto combine = [&](int64_t g, int which) __attribute__((always_inline)) {
    const __m512 s = scales(scale + g * PANEL), m = KIND == INT4 ? scales(low + g * PANEL) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int r = 0; r < M; r++) {
      const __m512i sum = whole(_mm512_load_si512(buffer[which][0][r]), _mm512_load_si512(buffer[which][1][r]));
      if constexpr (KIND == INT8) {
        const int32_t* of = sums + r * halves + 2 * g;
        const __m512i offset = _mm512_set1_epi32(128 * (of[0] + of[1]));
        total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset)), s, total[r]);
      } else {
        const __m512 of = _mm512_cvtepi32_ps(_mm512_set1_epi32(sums[r * halves + g]));
        total[r] = _mm512_fmadd_ps(of, m, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), s, total[r]));
      }
    }
  };
  DOKJA_TILES(0, 1, 4, 5, 6, 0);
  for (int64_t g = 0; g < groups; g++) {
    if (coming)
      for (int i = 0; i < AHEAD; i += 64) _mm_prefetch((const char*)coming + g * AHEAD + i, _MM_HINT_T1);
    if (g % 2 == 0) {
      if (g + 1 < groups) DOKJA_TILES(2, 3, 4, 5, 7, g + 1);
      _tile_stored(0, buffer[0][0], 64);
      _tile_stored(1, buffer[0][1], 64);
      combine(g, 0);
    } else {
      if (g + 1 < groups) DOKJA_TILES(0, 1, 4, 5, 6, g + 1);
      _tile_stored(2, buffer[1][0], 64);
      _tile_stored(3, buffer[1][1], 64);
      combine(g, 1);
    }
  }
  const __mmask16 mask = (__mmask16)((1u << lanes) - 1);
  const __m512 b = bias ? _mm512_maskz_loadu_ps(mask, bias) : _mm512_setzero_ps();
#pragma GCC unroll 16
  for (int r = 0; r < M; r++)
    if (r < count) put(out + r * ldo, lanes, _mm512_fmadd_ps(total[r], _mm512_set1_ps(x.scale[row + r]), b), past_cache);
}

// The weights of an int4 panel as bytes.
inline void unpack_panel(const uint8_t* packed, int64_t halves, uint8_t* w) {
  const __m512i nibble = _mm512_set1_epi8(15);
  for (int64_t h = 0; h < halves; h++)
    for (int q = 0; q < 4; q++) {
      const __m512i both = _mm512_loadu_si512(packed + h * 256 + q * 64);
      _mm512_storeu_si512(w + h * 512 + q * 64, _mm512_and_si512(both, nibble));
      _mm512_storeu_si512(w + h * 512 + 256 + q * 64, _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble));
    }
}

template <int M> inline void panels_tiles(const Matrix& m, int64_t from, int64_t to, const Rows& x, float* out,
                                          int64_t ldo, bool past_cache) {
  const Tiles tiles(M, m.kind == INT8 ? GROUP : HALF);
  const int64_t groups = m.groups();
  uint8_t* bytes = m.kind == INT4 ? (uint8_t*)keep<1>(groups * 256) : nullptr;
  for (int64_t p = from; p < to; p++) {
    const uint8_t* panel = m.panel(p);
    const uint16_t* scale = (const uint16_t*)(panel + m.weights());
    const int lanes = (int)std::min<int64_t>(PANEL, m.outputs - p * PANEL);
    const float* bias = m.bias ? m.bias + p * PANEL : nullptr;
    if (m.kind == INT4) unpack_panel(panel, 2 * groups, bytes);
    for (int64_t row = 0; row < x.count; row += M) {
      const int count = (int)std::min<int64_t>(M, x.count - row);
      float* to_out = out + row * ldo + p * PANEL;
      const uint8_t* coming = row == 0 && p + 1 < to ? m.panel(p + 1) : nullptr;
      if (m.kind == INT8)
        panel_tiles<INT8, M>(panel, scale, nullptr, x, row, count, to_out, ldo, lanes, bias, past_cache, coming);
      else
        panel_tiles<INT4, M>(bytes, scale, scale + groups * 2 * PANEL, x, row, count, to_out, ldo, lanes, bias,
                             past_cache, coming);
    }
  }
}

}  // namespace dokja
#endif
