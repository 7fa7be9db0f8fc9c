// Linear layers and gated MLPs from packed weights, and the packing itself.
#include "linear.h"

using namespace dokja;

// Lays out quantised weights q [outputs, inputs], one byte each, with scales (and lows) [outputs, groups] in bfloat16,
// or floats [outputs, inputs]. Zeros stand where a panel has no output and a group no input.
extern "C" int dokja_pack(const void* weights, const uint16_t* scale, const uint16_t* low, int64_t first,
                          int64_t outputs, const Matrix* whole, uint8_t* data, int threads) {
  const Matrix& m = *whole;
  if (first % m.wide()) return 1;
  share(ceil_div(outputs, m.wide()), threads, true, [&](int64_t from, int64_t to) {
    for (int64_t p = from; p < to; p++) {
      uint8_t* panel = data + (first / m.wide() + p) * m.panel_bytes();
      const int64_t row = p * m.wide(), filled = std::min(m.wide(), outputs - row), groups = m.groups();
      if (m.kind == FP32) {
        for (int64_t k = 0; k < m.inputs; k++)
          for (int64_t n = 0; n < FLOATS; n++)
            ((float*)panel)[k * FLOATS + n] = n < filled ? ((const float*)weights)[(row + n) * m.inputs + k] : 0.0f;
        continue;
      }
      const uint8_t* q = (const uint8_t*)weights;
      const auto at = [&](int64_t n, int64_t k) -> uint8_t {
        return n < filled && k < m.inputs ? q[(row + n) * m.inputs + k] : m.kind == INT8 ? 128 : 0;
      };
      uint16_t* scales = (uint16_t*)(panel + m.weights());
      const int64_t parts = m.kind == INT8 ? groups : 2 * groups, held = ceil_div(m.inputs, m.kind == INT8 ? GROUP : HALF);
      for (int64_t g = 0; g < parts; g++)
        for (int n = 0; n < PANEL; n++) {
          const bool real = n < filled && g < held;
          scales[g * PANEL + n] = real ? scale[(row + n) * held + g] : 0;
          if (m.kind == INT4) scales[(parts + g) * PANEL + n] = real ? low[(row + n) * held + g] : 0;
        }
      if (m.kind == INT8) {
        for (int64_t k = 0; k < groups * GROUP; k++)
          for (int n = 0; n < PANEL; n++) panel[k / 4 * 64 + n * 4 + k % 4] = at(n, k);
      } else {
        for (int64_t h = 0; h < parts; h++)
          for (int k = 0; k < HALF / 2; k++)
            for (int n = 0; n < PANEL; n++)
              panel[h * 256 + k / 4 * 64 + n * 4 + k % 4] =
                  (uint8_t)(at(n, h * HALF + k) | at(n, h * HALF + HALF / 2 + k) << 4);
      }
    }
  });
  return 0;
}

// Asks for large pages where weights are to lie.
extern "C" int dokja_large_pages(void* memory, int64_t bytes, int) {
  large_pages(memory, bytes);
  return 0;
}

// Bytes that `dokja_pack` fills.
extern "C" int dokja_packed_bytes(const Matrix* m, int64_t* bytes, int) {
  *bytes = m->panels() * m->panel_bytes();
  return 0;
}

extern "C" int dokja_linear(const Matrix* m, const float* x, int64_t ldx, int64_t count, float* out, int64_t ldo,
                            int threads) {
  linear(*m, x, ldx, count, out, ldo, threads);
  return 0;
}

extern "C" int dokja_linear_peaks(const Matrix* m, const float* x, int64_t count, float* out, float* peaks,
                                  int64_t* best, const float* sharpness, float* mass, int threads) {
  linear_peaks(*m, x, count, out, peaks, best, sharpness, mass, threads);
  return 0;
}

// down(activation(gate) * up).
extern "C" int dokja_mlp(const Matrix* gate_up, const Matrix* down, int64_t activation, const float* x, int64_t count,
                         float* out, int threads) {
  gated_mlp(*gate_up, *down, activation, x, count, out, threads);
  return 0;
}

// Rows of the matrix itself, times `factor`: an embedding that shares the head's weights. Refuses ids out of range.
extern "C" int dokja_embed(const Matrix* matrix, const int64_t* ids, int64_t count, float factor, float* out, int) {
  const Matrix& m = *matrix;
  for (int64_t i = 0; i < count; i++) {
    if (ids[i] < 0 || ids[i] >= m.outputs) return 1;
    const int64_t n = ids[i] % m.wide();
    const uint8_t* panel = m.panel(ids[i] / m.wide());
    const uint16_t* scale = (const uint16_t*)(panel + m.weights());
    const uint16_t* low = scale + m.groups() * 2 * PANEL;
    for (int64_t k = 0; k < m.inputs; k++) {
      float value;
      if (m.kind == FP32) value = ((const float*)panel)[k * FLOATS + n];
      else if (m.kind == INT8) value = ((int)panel[k / 4 * 64 + n * 4 + k % 4] - 128) * bf16(scale[k / GROUP * PANEL + n]);
      else {
        const int64_t h = k / HALF, in = k % HALF, j = in % (HALF / 2);
        const int q = panel[h * 256 + j / 4 * 64 + n * 4 + j % 4] >> (in < HALF / 2 ? 0 : 4) & 15;
        value = std::fma((float)q, bf16(scale[h * PANEL + n]), bf16(low[h * PANEL + n]));
      }
      out[i * m.inputs + k] = value * factor;
    }
  }
  return 0;
}
