// Muon's update of many small matrices: momentum, Newton-Schulz iteration and the step itself, each matrix in the cache
// from beginning to end.
#include "gemm.h"

#include <vector>

using namespace dokja;

namespace {

// Quintic coefficients and steps as in optim.py.
constexpr float A = 3.4445f, B = -4.7750f, C = 2.0315f;
constexpr int STEPS = 5;
constexpr int64_t PANEL = 3 * W;

struct Matrix {
  float *parameter, *momentum;
  const float* gradient;
  int64_t rows, columns, stride;
};

// out = a^T b [m, m], known to be symmetric, for a and b [depth, m], m a multiple of W: the part above the diagonal is
// computed, the rest mirrored.
void symmetric(const float* a, const float* b, int64_t depth, int64_t m, float* out) {
  for (int64_t j = 0; j < m; j += PANEL) {
    const int64_t wide = std::min(PANEL, m - j);
    gemm<1>(round_up(j + wide, ROWS), wide, depth, a, m, b + j, m, out + j, m, false);
    for (int64_t i = 0; i < j; i += W) {
      const float* at[W];
      for (int64_t k = 0; k < W; k++) at[k] = out + (i + k) * m + j;
      pack_transposed(at, wide, 1.0f, out + j * m + i, m);
    }
  }
}

void transposed(const float* in, int64_t rows, int64_t in_stride, int64_t columns, float* out, int64_t out_stride) {
  for (int64_t i = 0; i < rows; i += W) {
    const float* at[W];
    for (int64_t k = 0; k < W; k++) at[k] = in + std::min(i + k, rows - 1) * in_stride;
    if (i + W <= rows) {
      pack_transposed(at, columns, 1.0f, out + i, out_stride);
    } else {
      for (int64_t k = i; k < rows; k++)
        for (int64_t c = 0; c < columns; c++) out[c * out_stride + k] = in[k * in_stride + c];
    }
  }
}

void update(const Matrix& x, float beta, float size, float decay) {
  const bool wide = x.rows < x.columns;
  // y: the matrix stood upright, [n, m] with m <= n and zeros behind both.
  const int64_t m = round_up(wide ? x.rows : x.columns, 16), n = round_up(wide ? x.columns : x.rows, 16);
  float* y = thread_scratch().get(3 * n * m + 4 * m * m);
  float *next = y + n * m, *flat = next + n * m, *square = flat + n * m, *factor = square + m * m;
  float *product = factor + m * m, *other = product + m * m;
  std::memset(y, 0, sizeof(float) * n * m);
  float* update = wide ? flat : y;
  const int64_t stride = wide ? n : m;
  Vec squares = {};
  for (int64_t r = 0; r < x.rows; r++)
    vectors(x.columns, [&](int64_t i, int count) {
      const int64_t at = r * x.stride + i;
      const Vec g = load_n(x.gradient + at, count), before = load_n(x.momentum + at, count);
      const Vec momentum = before + (g - before) * (1.0f - beta), nesterov = g + (momentum - g) * beta;
      store_n(x.momentum + at, momentum, count);
      store_n(update + r * stride + i, nesterov, count);
      squares += nesterov * nesterov;
    });
  if (wide) transposed(flat, x.rows, n, x.columns, y, m);
  const float inverse = 1.0f / (std::sqrt(sum(squares)) + 1e-7f);
  for (int64_t i = 0; i < n * m; i += W) store(y + i, load(y + i) * inverse);
  // The iteration on y^T y alone, as in optim.py. All these matrices are polynomials of it: symmetric, and their
  // products too.
  symmetric(y, y, n, m, square);
  for (int step = 0; step < STEPS; step++) {
    symmetric(square, square, m, m, factor);
    for (int64_t i = 0; i < m * m; i += W) store(factor + i, load(square + i) * B + load(factor + i) * C);
    for (int64_t i = 0; i < m; i++) factor[i * m + i] += A;
    if (step == 0) {
      std::memcpy(product, factor, sizeof(float) * m * m);
    } else {
      symmetric(product, factor, m, m, other);
      std::swap(product, other);
    }
    if (step + 1 < STEPS) {
      symmetric(factor, square, m, m, other);
      symmetric(other, factor, m, m, square);
    }
  }
  gemm_rows(n, m, m, y, m, product, m, next, m, false);
  y = next;
  if (wide) transposed(y, x.columns, m, x.rows, flat, n);
  const float* step = wide ? flat : y;
  for (int64_t r = 0; r < x.rows; r++)
    vectors(x.columns, [&](int64_t i, int count) {
      float* at = x.parameter + r * x.stride + i;
      store_n(at, load_n(at, count) * decay - load_n(step + r * stride + i, count) * size, count);
    });
}

}  // namespace

extern "C" {

// table: [entries, 8] of addresses of parameter, gradient and momentum; how many matrices lie there and how far apart;
// rows, columns, floats from row to row. `size` is the step's before the square root of the longer side.
int dokja_muon(const int64_t* table, int64_t entries, float beta, float size, float decay, int threads) {
  std::vector<Matrix> matrices;
  for (const int64_t* at = table; at < table + 8 * entries; at += 8)
    for (int64_t i = 0; i < at[3]; i++)
      matrices.push_back({(float*)at[0] + i * at[4], (float*)at[2] + i * at[4], (const float*)at[1] + i * at[4], at[5],
                          at[6], at[7]});
  parallel(matrices.size(), threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const float longer = (float)std::max(matrices[i].rows, matrices[i].columns);
      update(matrices[i], beta, size * std::sqrt(longer), decay);
    }
  });
  return 0;
}

}  // extern "C"
