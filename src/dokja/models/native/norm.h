// RMS norm of one row, weights acting as offset + w.
#pragma once

#include "simd.h"

namespace dokja {

// in * scale * (weight + offset): the norm once scale = 1 / rms is known.
inline void scaled(const float* in, int64_t width, const float* weight, float offset, float scale, float* out) {
  vectors(width, [&](int64_t i, int n) { store_n(out + i, load_n(in + i, n) * scale * (load_n(weight + i, n) + offset), n); });
}

// Returns 1 / rms, which the backward pass needs.
inline float rms_norm(const float* in, int64_t width, const float* weight, float offset, float eps, float* out) {
  Vec squares = {};
  vectors(width, [&](int64_t i, int n) { const Vec v = load_n(in + i, n); squares += v * v; });
  const float scale = 1.0f / std::sqrt(sum(squares) / (float)width + eps);
  scaled(in, width, weight, offset, scale, out);
  return scale;
}

// up: the gradient of the norm; out: written, with `further` (may be null) added; dweight: added to.
inline void rms_norm_backward(const float* in, int64_t width, const float* weight, float offset, float scale,
                              const float* up, const float* further, float* out, float* dweight) {
  Vec dot = {};
  vectors(width, [&](int64_t i, int n) {
    const Vec gx = load_n(up + i, n) * load_n(in + i, n);
    dot += gx * (load_n(weight + i, n) + offset);
    store_n(dweight + i, load_n(dweight + i, n) + gx * scale, n);
  });
  const float pull = sum(dot) * scale * scale / (float)width;
  vectors(width, [&](int64_t i, int n) {
    const Vec dx = (load_n(up + i, n) * (load_n(weight + i, n) + offset) - load_n(in + i, n) * pull) * scale;
    store_n(out + i, further ? load_n(further + i, n) + dx : dx, n);
  });
}

}  // namespace dokja
