// A gated MLP, forwards and backwards, a block of rows at a time: what lies between its two matrices never leaves the
// nearest caches, apart from the one activation that the backward pass needs.
#include "gemm.h"

using namespace dokja;

namespace {

constexpr int64_t BLOCK = 128;      // rows; with the matrices of a pocket model they fit the second-level cache
constexpr int64_t PANEL = 3 * W;    // columns of a tile, packed side by side
constexpr int64_t DEPTH = 192;      // rows of a panel that stay in the nearest cache

struct Shape {
  int64_t rows, width, hidden;
  int64_t padded() const { return round_up(hidden, 16); }
};

// b [depth, n] as panels of PANEL columns, each [depth, wide]; columns from n on are zero up to `padded`.
void pack(const float* b, int64_t depth, int64_t n, int64_t padded, float* out) {
  for (int64_t j = 0; j < padded; j += PANEL) {
    const int64_t wide = std::min(PANEL, padded - j), filled = std::max<int64_t>(0, std::min(wide, n - j));
    for (int64_t k = 0; k < depth; k++) {
      float* to = out + j * depth + k * wide;
      copy(b + k * n + j, filled, to);
      for (int64_t i = filled; i < wide; i++) to[i] = 0.0f;
    }
  }
}

// The same for b = w^T, w [n, depth], n a multiple of 16.
void pack_transpose(const float* w, int64_t n, int64_t depth, float* out) {
  for (int64_t j = 0; j < n; j += PANEL) {
    const int64_t wide = std::min(PANEL, n - j);
    for (int64_t i = 0; i < wide; i += W) {
      const float* at[W];
      for (int64_t k = 0; k < W; k++) at[k] = w + (j + i + k) * depth;
      pack_transposed(at, depth, 1.0f, out + j * depth + i, wide);
    }
  }
}

// c [m, n] = a [m, depth] @ the packed b.
void multiply(int64_t m, int64_t n, int64_t depth, const float* a, int64_t am, const float* packed, float* c, int64_t cm) {
  for (int64_t j = 0; j < n; j += PANEL) {
    const int64_t wide = std::min(PANEL, n - j);
    for (int64_t k = 0; k < depth; k += DEPTH)
      gemm_rows(m, wide, std::min(DEPTH, depth - k), a + k, am, packed + j * depth + k * wide, wide, c + j, cm, k > 0);
  }
}

}  // namespace

extern "C" {

// shape: rows (a multiple of 8), width (of 16), hidden width (of 8). x, out: [rows, width]; gate_up: [2 hidden, width];
// down: [width, hidden]; before: [rows, 2 hidden], kept for the backward pass.
int dokja_gated_mlp(const int64_t* shape, const float* x, const float* gate_up, const float* down, float* before,
                    float* out, int threads) {
  const Shape s = {shape[0], shape[1], shape[2]};
  const int64_t C = s.width, F = s.hidden, blocks = (s.rows + BLOCK - 1) / BLOCK;
  parallel(blocks, threads, [&](int64_t begin, int64_t end, int) {
    float* first = thread_scratch().get(3 * F * C + BLOCK * F);
    float *second = first + 2 * F * C, *act = second + F * C;
    pack_transpose(gate_up, 2 * F, C, first);
    pack_transpose(down, C, F, second);
    for (int64_t b = begin; b < end; b++) {
      const int64_t row = b * BLOCK, count = std::min(BLOCK, s.rows - row);
      float* hidden = before + row * 2 * F;
      multiply(count, 2 * F, C, x + row * C, C, first, hidden, 2 * F);
      for (int64_t r = 0; r < count; r++)
        vectors(F, [&](int64_t i, int n) {
          const Vec gate = load_n(hidden + r * 2 * F + i, n);
          store_n(act + r * F + i, gate * sigmoid(gate) * load_n(hidden + r * 2 * F + F + i, n), n);
        });
      multiply(count, C, F, act, F, second, out + row * C, C);
    }
  });
  return 0;
}

// g: the gradient of out. dgate_up: zeros, [threads, 2 hidden, width]; ddown: zeros, [threads, width, hidden rounded up
// to 16]; both to be summed over threads by the caller.
int dokja_gated_mlp_backward(const int64_t* shape, const float* x, const float* gate_up, const float* down,
                             const float* before, const float* g, float* dx, float* dgate_up, float* ddown,
                             int threads) {
  const Shape s = {shape[0], shape[1], shape[2]};
  const int64_t C = s.width, F = s.hidden, P = s.padded(), blocks = (s.rows + BLOCK - 1) / BLOCK;
  parallel(blocks, threads, [&](int64_t begin, int64_t end, int thread) {
    float* first = thread_scratch().get(2 * F * C + P * C + BLOCK * (2 * P + 2 * F));
    float *second = first + 2 * F * C, *act = second + P * C, *dact = act + BLOCK * P, *dhidden = dact + BLOCK * P;
    float *dfirst = dgate_up + thread * 2 * F * C, *dsecond = ddown + thread * C * P;
    pack(gate_up, 2 * F, C, C, first);
    pack(down, C, F, P, second);
    std::memset(act, 0, sizeof(float) * BLOCK * P);
    for (int64_t b = begin; b < end; b++) {
      const int64_t row = b * BLOCK, count = std::min(BLOCK, s.rows - row);
      const float* hidden = before + row * 2 * F;
      multiply(count, P, C, g + row * C, C, second, dact, P);
      for (int64_t r = 0; r < count; r++)
        vectors(F, [&](int64_t i, int n) {
          const Vec gate = load_n(hidden + r * 2 * F + i, n), up = load_n(hidden + r * 2 * F + F + i, n);
          const Vec d = load_n(dact + r * P + i, n), sig = sigmoid(gate), silu = gate * sig;
          store_n(act + r * P + i, silu * up, n);
          store_n(dhidden + r * 2 * F + i, d * up * (sig + silu * (1.0f - sig)), n);
          store_n(dhidden + r * 2 * F + F + i, d * silu, n);
        });
      multiply(count, C, 2 * F, dhidden, 2 * F, first, dx + row * C, C);
      gemm<1>(2 * F, C, count, dhidden, 2 * F, x + row * C, C, dfirst, C, true);
      gemm<1>(C, P, count, g + row * C, C, act, P, dsecond, P, true);
    }
  });
  return 0;
}

}  // extern "C"
