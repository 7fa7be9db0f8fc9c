// out = x W^T + bias for any number of rows; what a row gives depends on nothing but the row.
#pragma once

#include "amx.h"
#include "logits.h"

namespace dokja {

constexpr int64_t BLOCK = 128;  // rows at once, so that they stay in a near cache while the weights stream past
// Another thread gets a share of that many bytes of weights or of floats if it is awake, and is woken for WAKE times as
// many: a sleeping thread comes tens of microseconds later.
constexpr int64_t SMALL = 1 << 15, FEW = 1 << 12, WAKE = 32;

// f over the panels or blocks of a matrix for some rows; eight rows take about as long as the bytes.
template <class F> inline void share_matrix(const Matrix& m, int64_t rows, int64_t pieces, int threads, F f) {
  const int64_t work = m.panels() * m.panel_bytes() * ceil_div(rows, 8);
  share(pieces, work < SMALL ? 1 : threads, work >= WAKE * SMALL, f);
}

// f(token) for each of some tokens of `width` floats.
template <class F> inline void each(int64_t count, int64_t width, int threads, F f) {
  share(count, count * width < FEW ? 1 : threads, count * width >= WAKE * FEW, [&](int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n++) f(n);
  });
}

// Rows as a kind of matrix wants them: floats as they lie, or integers.
struct Input {
  const float* x;
  int64_t ld, count;
  Rows rows;

  static size_t floats(Kind kind, int64_t count, int64_t inputs) {
    return kind == FP32 ? 0 : Rows::floats(count, ceil_div(inputs, GROUP) * GROUP);
  }
  Input(const float* x, int64_t ld, int64_t count, const Matrix& m, float* memory, int threads)
      : x(x), ld(ld), count(count), rows(m.kind == FP32 ? 0 : count, m.inputs, memory) {
    if (m.kind == FP32) return;
    each(count, m.inputs, threads, [&](int64_t i) { rows.set(i, x + i * ld, m.inputs); });
  }
};

template <int R> inline bool step(const Matrix& m, int64_t p, const Input& in, int64_t& row, float* out, int64_t ldo,
                                  bool past_cache) {
  if (in.count - row < R) return false;
  const int64_t first = p * m.wide(), lanes = std::min(m.wide(), m.outputs - first);
  const uint8_t* panel = m.panel(p);
  const float* bias = m.bias ? m.bias + first : nullptr;
  float* to = out + row * ldo + first;
  if (m.kind == INT8) panel_int8<R>(panel, m.groups(), in.rows, row, to, ldo, (int)lanes, bias, past_cache);
  else if (m.kind == INT4) panel_int4<R>(panel, m.groups(), in.rows, row, to, ldo, (int)lanes, bias, past_cache);
  else panel_fp32<R>((const float*)panel, m.inputs, in.x + row * in.ld, in.ld, to, ldo, lanes, bias);
  row += R;
  return true;
}

// The panels [from, to) of all rows.
inline void panels(const Matrix& m, int64_t from, int64_t to, const Input& in, float* out, int64_t ldo) {
  const bool past_cache = in.count * m.outputs >= (1 << 20);
#ifdef DOKJA_AMX
  if (m.kind != FP32 && in.count > 2 && amx()) {
    if (in.count <= 4) panels_tiles<4>(m, from, to, in.rows, out, ldo, past_cache);
    else if (in.count <= 8) panels_tiles<8>(m, from, to, in.rows, out, ldo, past_cache);
    else panels_tiles<16>(m, from, to, in.rows, out, ldo, past_cache);
    return;
  }
#endif
  constexpr int MOST = W == 16 ? 6 : 3;  // what the registers hold of floats
  for (int64_t p = from; p < to; p++) {
    int64_t row = 0;
    if (m.kind == FP32) while (step<MOST>(m, p, in, row, out, ldo, past_cache)) {}
    else while (step<8>(m, p, in, row, out, ldo, past_cache)) {}
    while (step<4>(m, p, in, row, out, ldo, past_cache)) {}
    while (step<2>(m, p, in, row, out, ldo, past_cache)) {}
    while (step<1>(m, p, in, row, out, ldo, past_cache)) {}
  }
}

inline void multiply(const Matrix& m, const Input& in, float* out, int64_t ldo, int threads) {
  share_matrix(m, in.count, m.panels(), threads, [&](int64_t from, int64_t to) {
    panels(m, from, to, in, out, ldo);
#ifdef DOKJA_VNNI
    _mm_sfence();  // what went past the cache is there before another thread reads it
#endif
  });
}

inline void linear(const Matrix& m, const float* x, int64_t ldx, int64_t count, float* out, int64_t ldo, int threads) {
  if (ldo == m.outputs) large_pages(out, count * ldo * 4);
  for (int64_t i = 0; i < count; i += BLOCK) {
    const int64_t n = std::min(BLOCK, count - i);
    const Input in(x + i * ldx, ldx, n, m, keep<0>(Input::floats((Kind)m.kind, n, m.inputs)), threads);
    multiply(m, in, out + i * ldo, ldo, threads);
  }
}

// The same with, for each row, the largest of each REACH outputs, peaks [count, ceil(outputs / REACH)], the place of the
// largest of all, best [count], and where sharpness > 0, mass [count, ceil(outputs / REACH)], the sums over REACH outputs
// of exp((x - their largest) * sharpness): looked for while they are near, since logits of many rows fit no cache.
inline void linear_peaks(const Matrix& m, const float* x, int64_t count, float* out, float* peaks, int64_t* best,
                         const float* sharpness, float* mass, int threads) {
  const int64_t blocks = ceil_div(m.outputs, REACH);
  large_pages(out, count * m.outputs * 4);
  for (int64_t i = 0; i < count; i += BLOCK) {
    const int64_t n = std::min(BLOCK, count - i);
    const Input in(x + i * m.inputs, m.inputs, n, m, keep<0>(Input::floats((Kind)m.kind, n, m.inputs)), threads);
    share_matrix(m, n, blocks, threads, [&](int64_t from, int64_t to) {
      float* near = keep<10>(BLOCK * REACH);
      for (int64_t b = from; b < to; b++) {
        const int64_t first = b * REACH, held = std::min(REACH, m.outputs - first);
        const Matrix part{m.panel(first / m.wide()), m.bias ? m.bias + first : nullptr, held, m.inputs, m.kind};
        panels(part, 0, part.panels(), in, near, REACH);
        for (int64_t r = 0; r < n; r++) {
          const int64_t row = i + r, at = row * blocks + b;
          peaks[at] = pass_on(near + r * REACH, held, out + row * m.outputs + first);
          if (sharpness && sharpness[row] > 0)
            mass[at] = block_mass(near + r * REACH, held, 0, peaks[at], sharpness[row]);
        }
      }
#ifdef DOKJA_VNNI
      _mm_sfence();
#endif
    });
  }
  each(count, blocks, threads, [&](int64_t r) {
    best[r] = place_of_largest(out + r * m.outputs, peaks + r * blocks, m.outputs);
  });
}

// hidden[f] = activation(gate[f]) * up[f] of a row [2 F]; 0 silu, 1 gelu_tanh, 2 clamped_silu, as in models/ops.py.
inline void activate(const float* row, int64_t width, int64_t activation, float* hidden) {
  const float *gate = row, *up = row + width;
  vectors(width, [&](int64_t i, int n) {
    Vec g = load_n(gate + i, n), u = load_n(up + i, n);
    if (activation == 0) g = g * sigmoid(g) * u;
    else if (activation == 1) g = g * sigmoid(1.59576912f * (g + 0.044715f * (g * g * g))) * u;  // 2 sqrt(2 / pi)
    else {
      g = g > 7.0f ? splat(7.0f) : g;
      u = u > 7.0f ? splat(7.0f) : u < -7.0f ? splat(-7.0f) : u;
      g = g * sigmoid(1.702f * g) * (u + 1.0f);
    }
    store_n(hidden + i, g, n);
  });
}

// down(activation(gate) * up).
inline void gated_mlp(const Matrix& gate_up, const Matrix& down, int64_t activation, const float* x, int64_t count,
                      float* out, int threads) {
  const int64_t width = down.inputs;
  for (int64_t i = 0; i < count; i += BLOCK) {
    const int64_t n = std::min(BLOCK, count - i);
    float* hidden = keep<2>(n * 2 * width);
    linear(gate_up, x + i * gate_up.inputs, gate_up.inputs, n, hidden, 2 * width, threads);
    // In place: a row's hidden states take the place of its gate.
    each(n, width, threads, [&](int64_t r) {
      activate(hidden + r * 2 * width, width, activation, hidden + r * 2 * width);
    });
    linear(down, hidden, 2 * width, n, out + i * down.outputs, down.outputs, threads);
  }
}

}  // namespace dokja
