// Kernels that go row by row: RMS norm, SwiGLU, rotary positions.
// A row's result never depends on its neighbours, nor on the number of threads (sums over rows do on the latter).
#include "norm.h"

using namespace dokja;

extern "C" {

// x: [outer, inner, width] with strides; y, g and dx contiguous; offset: added to the weights. rstd: [outer * inner].
int dokja_rms_norm(const float* x, int64_t outer, int64_t outer_stride, int64_t inner, int64_t inner_stride,
                   int64_t width, const float* weight, float offset, float eps, float* y, float* rstd, int threads) {
  parallel(outer, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; o++)
      for (int64_t i = 0, row = o * inner; i < inner; i++, row++)
        rstd[row] = rms_norm(x + o * outer_stride + i * inner_stride, width, weight, offset, eps, y + row * width);
  });
  return 0;
}

// dweight: [threads, width], to be summed over threads by the caller.
int dokja_rms_norm_backward(const float* x, int64_t outer, int64_t outer_stride, int64_t inner, int64_t inner_stride,
                            int64_t width, const float* weight, float offset, const float* rstd, const float* g,
                            float* dx, float* dweight, int threads) {
  std::memset(dweight, 0, sizeof(float) * threads * width);
  parallel(outer, threads, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t o = begin; o < end; o++)
      for (int64_t i = 0, row = o * inner; i < inner; i++, row++)
        rms_norm_backward(x + o * outer_stride + i * inner_stride, width, weight, offset, rstd[row], g + row * width,
                          nullptr, dx + row * width, dweight + thread * width);
  });
  return 0;
}

// h = x + norm(y) and m = norm(h), all [rows, width]: what stands between one part of a layer and the next. The norm of y,
// or the last one with m, is left out where its weights are null. rstd: [rows, 2]; floats: offset and epsilon of each.
int dokja_join(int64_t rows, int64_t width, const float* x, const float* y, const float* after, const float* before,
               const float* floats, float* h, float* m, float* rstd, int threads) {
  parallel(rows, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const float *given = x + row * width, *added = y + row * width;
      float* out = h + row * width;
      if (after) {
        rstd[row * 2] = rms_norm(added, width, after, floats[0], floats[1], out);
        added = out;
      }
      vectors(width, [&](int64_t i, int n) { store_n(out + i, load_n(given + i, n) + load_n(added + i, n), n); });
      if (before) rstd[row * 2 + 1] = rms_norm(out, width, before, floats[2], floats[3], m + row * width);
    }
  });
  return 0;
}

// dh, dm: gradients of h and m; dx and dy: written where they differ, dx from dh (a last norm) and dy from dx (a norm of
// y). dweight: zeros, [threads, 2, width].
int dokja_join_backward(int64_t rows, int64_t width, const float* y, const float* h, const float* after,
                        const float* before, const float* floats, const float* rstd, const float* dh, const float* dm,
                        float* dx, float* dy, float* dweight, int threads) {
  parallel(rows, threads, [&](int64_t begin, int64_t end, int thread) {
    float* sums = dweight + thread * 2 * width;
    for (int64_t row = begin; row < end; row++) {
      const int64_t at = row * width;
      if (before)
        rms_norm_backward(h + at, width, before, floats[2], rstd[row * 2 + 1], dm + at, dh + at, dx + at, sums + width);
      if (after)
        rms_norm_backward(y + at, width, after, floats[0], rstd[row * 2], (before ? dx : dh) + at, nullptr, dy + at, sums);
    }
  });
  return 0;
}

// gate_up: [rows, 2 width]; y: [rows, width].
int dokja_swiglu(const float* gate_up, int64_t rows, int64_t width, float* y, int threads) {
  parallel(rows, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const float *gate = gate_up + row * 2 * width, *up = gate + width;
      float* out = y + row * width;
      vectors(width, [&](int64_t i, int n) {
        const Vec v = load_n(gate + i, n);
        store_n(out + i, v * sigmoid(v) * load_n(up + i, n), n);
      });
    }
  });
  return 0;
}

int dokja_swiglu_backward(const float* gate_up, const float* g, int64_t rows, int64_t width, float* dgate_up,
                           int threads) {
  parallel(rows, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const float *gate = gate_up + row * 2 * width, *up = gate + width, *in = g + row * width;
      float *dgate = dgate_up + row * 2 * width, *dup = dgate + width;
      vectors(width, [&](int64_t i, int n) {
        const Vec v = load_n(gate + i, n), s = sigmoid(v), d = load_n(in + i, n), silu = v * s;
        store_n(dgate + i, d * load_n(up + i, n) * (s + silu * (1.0f - s)), n);
        store_n(dup + i, d * silu, n);
      });
    }
  });
  return 0;
}

// x: [batch, length, heads, 2 half] with strides; y: the same with `apart` from place to place, may be x where neither
// is interleaved; cos, sin: [length, half] or one such per sequence
// (table_stride 0 or length * half). Pairs stand as halves or interleaved in x and in y; sign -1 turns backwards.
int dokja_rotate(const float* x, int64_t batch, int64_t length, int64_t heads, int64_t half, int64_t batch_stride,
                  int64_t length_stride, int64_t head_stride, const float* cos, const float* sin, int64_t table_stride,
                  int interleaved_in, int interleaved_out, float sign, float* y, int64_t apart, int threads) {
  parallel(batch * length, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t place = begin; place < end; place++) {
      const int64_t b = place / length, t = place % length;
      const float *c = cos + b * table_stride + t * half, *s = sin + b * table_stride + t * half;
      for (int64_t h = 0; h < heads; h++) {
        const float* in = x + b * batch_stride + t * length_stride + h * head_stride;
        float* out = y + place * apart + h * 2 * half;
        if (!interleaved_in && !interleaved_out) {
          vectors(half, [&](int64_t i, int n) {
            const Vec a = load_n(in + i, n), z = load_n(in + half + i, n);
            const Vec co = load_n(c + i, n), si = load_n(s + i, n) * sign;
            store_n(out + i, a * co - z * si, n);
            store_n(out + half + i, z * co + a * si, n);
          });
          continue;
        }
        for (int64_t i = 0; i < half; i++) {
          const float a = in[interleaved_in ? 2 * i : i], z = in[interleaved_in ? 2 * i + 1 : half + i];
          out[interleaved_out ? 2 * i : i] = a * c[i] - z * (s[i] * sign);
          out[interleaved_out ? 2 * i + 1 : half + i] = z * c[i] + a * (s[i] * sign);
        }
      }
    }
  });
  return 0;
}

}  // extern "C"
