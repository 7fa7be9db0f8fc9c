// A gated MLP, forwards and backwards, a block of rows at a time: what lies between its two matrices never leaves the
// nearest caches, apart from the one activation that the backward pass needs.
#include "gemm.h"

using namespace dokja;

namespace {

constexpr int64_t BLOCK = 64;       // rows; with the matrices of a pocket model they fit the second-level cache
struct Shape {
  int64_t rows, width, hidden;
};

}  // namespace

extern "C" {

// shape: rows, width and hidden width, multiples of 8. x, out: [rows, width]; gate_up: [2 hidden, width];
// down: [width, hidden]; before: [rows, 2 hidden], kept for the backward pass.
int dokja_gated_mlp(const int64_t* shape, const float* x, const float* gate_up, const float* down, float* before,
                    float* out, int threads) {
  const Shape s = {shape[0], shape[1], shape[2]};
  const int64_t C = s.width, F = s.hidden, blocks = (s.rows + BLOCK - 1) / BLOCK;
  parallel(blocks, threads, [&](int64_t begin, int64_t end, int) {
    float* first = thread_scratch().get(Panels::size(C, 2 * F) + Panels::size(F, C) + BLOCK * F);
    float *second = first + Panels::size(C, 2 * F), *act = second + Panels::size(F, C);
    Panels::pack_transpose(gate_up, 2 * F, C, first);
    Panels::pack_transpose(down, C, F, second);
    for (int64_t b = begin; b < end; b++) {
      const int64_t row = b * BLOCK, count = std::min(BLOCK, s.rows - row);
      float* hidden = before + row * 2 * F;
      Panels::multiply(count, 2 * F, C, x + row * C, C, first, hidden, 2 * F);
      for (int64_t r = 0; r < count; r++)
        vectors(F, [&](int64_t i, int n) {
          const Vec gate = load_n(hidden + r * 2 * F + i, n);
          store_n(act + r * F + i, gate * sigmoid(gate) * load_n(hidden + r * 2 * F + F + i, n), n);
        });
      Panels::multiply(count, C, F, act, F, second, out + row * C, C);
    }
  });
  return 0;
}

// g: the gradient of out. dgate_up: zeros, [threads, 2 hidden, width]; ddown: zeros, [threads, width, hidden];
// both to be summed over threads by the caller.
int dokja_gated_mlp_backward(const int64_t* shape, const float* x, const float* gate_up, const float* down,
                             const float* before, const float* g, float* dx, float* dgate_up, float* ddown,
                             int threads) {
  const Shape s = {shape[0], shape[1], shape[2]};
  const int64_t C = s.width, F = s.hidden, blocks = (s.rows + BLOCK - 1) / BLOCK;
  parallel(blocks, threads, [&](int64_t begin, int64_t end, int thread) {
    float* first = thread_scratch().get(Panels::size(2 * F, C) + Panels::size(C, F) + BLOCK * 4 * F);
    float *second = first + Panels::size(2 * F, C), *act = second + Panels::size(C, F), *dact = act + BLOCK * F;
    float *dhidden = dact + BLOCK * F, *dfirst = dgate_up + thread * 2 * F * C, *dsecond = ddown + thread * C * F;
    Panels::pack(gate_up, 2 * F, C, first);
    Panels::pack(down, C, F, second);
    for (int64_t b = begin; b < end; b++) {
      const int64_t row = b * BLOCK, count = std::min(BLOCK, s.rows - row);
      const float* hidden = before + row * 2 * F;
      Panels::multiply(count, F, C, g + row * C, C, second, dact, F);
      for (int64_t r = 0; r < count; r++)
        vectors(F, [&](int64_t i, int n) {
          const Vec gate = load_n(hidden + r * 2 * F + i, n), up = load_n(hidden + r * 2 * F + F + i, n);
          const Vec d = load_n(dact + r * F + i, n), sig = sigmoid(gate), silu = gate * sig;
          store_n(act + r * F + i, silu * up, n);
          store_n(dhidden + r * 2 * F + i, d * up * (sig + silu * (1.0f - sig)), n);
          store_n(dhidden + r * 2 * F + F + i, d * silu, n);
        });
      Panels::multiply(count, C, 2 * F, dhidden, 2 * F, first, dx + row * C, C);
      gemm<1>(2 * F, C, count, dhidden, 2 * F, x + row * C, C, dfirst, C, true);
      gemm<1>(C, F, count, g + row * C, C, act, F, dsecond, F, true);
    }
  });
  return 0;
}

}  // extern "C"
