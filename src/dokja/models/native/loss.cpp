// Cross-entropy through the head: loss and both gradients in one go, a block of rows at a time.
//
// A vector's lanes are rows (tokens) and the logits of a block are kept transposed, [vocabulary, ROWS_AT_ONCE], so that
// maxima, sums and gradients are element-wise. One exponential a logit: what is stored is exp(logit - the largest of its
// part of the vocabulary), which one factor a lane turns into the probability once the whole sum is known.
#include "gemm.h"

#include <vector>

using namespace dokja;

namespace {

constexpr int64_t IGNORED = -100;      // PyTorch's ignore_index
constexpr int64_t ROWS_AT_ONCE = 192;  // whole tiles of three vectors on every machine; the weights are read once for each
constexpr int64_t PART = 64;           // of the vocabulary: its logits, weights and gradients stay in the nearest caches
constexpr int64_t PANEL = 3 * W;       // rows whose part of the logits is finished before the next rows
constexpr int64_t DEPTH = 256;         // of a product over the width, so that the right side stays there too
constexpr float LOWEST = -3e38f;

struct Shape {
  int64_t rows, vocab, width;
  int64_t padded() const { return round_up(width, 16); }  // columns of dweight on every machine
  int64_t parts() const { return (vocab + PART - 1) / PART; }
};

struct Input {
  const float *hidden, *weight;
  const int64_t* target;
  const float* share;  // may be null
  float scale, z;  // z: weight of the squared log of the denominator, in the gradient alone
};

// Rows first .. first + count - 1, and what is known of them.
struct Block {
  const Shape& s;
  const Input& in;
  int64_t first, count, lanes;
  float *columns, *rows;  // hidden as [width, ROWS_AT_ONCE] and [ROWS_AT_ONCE, padded]
  float *logits, *stats;  // [parts * PART, ROWS_AT_ONCE]; [parts, 2, ROWS_AT_ONCE]: largest and sum, then the factor
  float picked[ROWS_AT_ONCE], pull[ROWS_AT_ONCE];  // the target's logit; what the loss's gradient is multiplied by

  // A part of the weights as rows that may be read eight at a time and a vector beyond the width.
  const float* weights(int64_t part, std::vector<float>& copied) const {
    const int64_t begin = part * PART, n = std::min(PART, s.vocab - begin);
    if (begin + n < s.vocab) return in.weight + begin * s.width;
    copied.assign(round_up(n, ROWS) * s.width + ROWS, 0.0f);
    std::memcpy(copied.data(), in.weight + begin * s.width, sizeof(float) * n * s.width);
    return copied.data();
  }

  void pack() const {
    const std::vector<float> zeros(s.width);
    for (int64_t i = 0; i < lanes; i += W) {
      const float* at[W];
      for (int64_t j = 0; j < W; j++) at[j] = i + j < count ? in.hidden + (first + i + j) * s.width : zeros.data();
      pack_transposed(at, s.width, 1.0f, columns + i, ROWS_AT_ONCE);
    }
    for (int64_t i = 0; i < lanes; i++)
      for (int64_t c = 0; c < s.padded(); c++)
        rows[i * s.padded() + c] = i < count && c < s.width ? in.hidden[(first + i) * s.width + c] : 0.0f;
  }

  // Logits of a part, their largest and their sum, lane by lane; the logits become exponentials.
  void score(int64_t part) {
    std::vector<float> copied;
    const bool more = part + 1 < s.parts() - 1;
    Ahead next(more ? in.weight + (part + 1) * PART * s.width : nullptr, PART * s.width, PART, lanes, s.width);
    const int64_t begin = part * PART, n = std::min(PART, s.vocab - begin);
    const float* w = weights(part, copied);
    float* out = logits + begin * ROWS_AT_ONCE;
    for (int64_t j = 0; j < lanes; j += PANEL) {
      const int64_t wide = std::min(PANEL, lanes - j);
      for (int64_t c = 0; c < s.width; c += DEPTH)
        gemm_rows(round_up(n, ROWS), wide, std::min(DEPTH, s.width - c), w + c, s.width, columns + c * ROWS_AT_ONCE + j,
                  ROWS_AT_ONCE, out + j, ROWS_AT_ONCE, c > 0, next);
      for (int64_t i = j; i < std::min(count, j + wide); i++) {
        const int64_t at = in.target[first + i] - begin;
        if (at >= 0 && at < n) picked[i] = out[at * ROWS_AT_ONCE + i] * in.scale;
      }
      for (int64_t i = j; i < j + wide; i += W) {
        Vec top = splat(LOWEST), total = {};
        for (int64_t v = 0; v < n; v++) top = max(top, load(out + v * ROWS_AT_ONCE + i) * in.scale);
        for (int64_t v = 0; v < n; v++) {
          const Vec e = exp(load(out + v * ROWS_AT_ONCE + i) * in.scale - top);
          store(out + v * ROWS_AT_ONCE + i, e);
          total += e;
        }
        store(stats + part * 2 * ROWS_AT_ONCE + i, top);
        store(stats + (part * 2 + 1) * ROWS_AT_ONCE + i, total);
      }
    }
    for (int64_t v = n; v < round_up(n, ROWS); v++)
      std::memset(out + v * ROWS_AT_ONCE, 0, sizeof(float) * ROWS_AT_ONCE);
  }

  // The loss of each row, and the factors that make gradients of the exponentials.
  void sum_up(float* loss) {
    float spread[W];  // what the probabilities are multiplied by
    for (int64_t i = 0; i < lanes; i += W) {
      Vec top = load(stats + i), total = {};
      for (int64_t p = 1; p < s.parts(); p++) top = max(top, load(stats + p * 2 * ROWS_AT_ONCE + i));
      for (int64_t p = 0; p < s.parts(); p++)
        total += load(stats + (p * 2 + 1) * ROWS_AT_ONCE + i) * exp(load(stats + p * 2 * ROWS_AT_ONCE + i) - top);
      for (int64_t j = i; j < i + W; j++) {
        const bool counts = j < count && in.target[first + j] != IGNORED;
        pull[j] = counts ? in.scale * (in.share ? in.share[first + j] : 1.0f) : 0.0f;
        const float denominator = top[j - i] + std::log(total[j - i]);
        if (j < count) loss[first + j] = counts ? denominator - picked[j] : 0.0f;
        spread[j - i] = pull[j] * (1 + 2 * in.z * denominator);
      }
      const Vec factor = load(spread) / total;
      for (int64_t p = 0; p < s.parts(); p++) {
        float* at = stats + p * 2 * ROWS_AT_ONCE + i;
        store(at, exp(load(at) - top) * factor);
      }
    }
  }

  // Gradients of a part: added to the transposed dhidden [width rounded up, ROWS_AT_ONCE] and to dweight's rows.
  void learn(int64_t part, float* dcolumns, float* dweight) const {
    std::vector<float> copied;
    const int64_t begin = part * PART, n = std::min(PART, s.vocab - begin), whole = round_up(n, ROWS);
    const bool more = part + 1 < s.parts() - 1;
    Ahead next(more ? in.weight + (part + 1) * PART * s.width : nullptr, PART * s.width, round_up(s.width, ROWS), lanes,
               n);
    Ahead after(more ? dweight + (part + 1) * PART * s.padded() : nullptr, PART * s.padded(), whole, s.padded(),
                lanes);
    const float* w = weights(part, copied);
    float* slopes = logits + begin * ROWS_AT_ONCE;
    for (int64_t j = 0; j < lanes; j += PANEL) {
      const int64_t wide = std::min(PANEL, lanes - j);
      for (int64_t i = j; i < j + wide; i += W) {
        const Vec factor = load(stats + part * 2 * ROWS_AT_ONCE + i);
        for (int64_t v = 0; v < n; v++) {
          float* at = slopes + v * ROWS_AT_ONCE + i;
          store(at, load(at) * factor);
        }
      }
      for (int64_t i = j; i < std::min(count, j + wide); i++) {
        const int64_t at = in.target[first + i] - begin;
        if (at >= 0 && at < n) slopes[at * ROWS_AT_ONCE + i] -= pull[i];
      }
      gemm<1>(round_up(s.width, ROWS), wide, n, w, s.width, slopes + j, ROWS_AT_ONCE, dcolumns + j, ROWS_AT_ONCE, true,
              next);
    }
    gemm<ROWS_AT_ONCE>(whole, s.padded(), lanes, slopes, 1, rows, s.padded(), dweight + begin * s.padded(), s.padded(),
                       true, after);
  }

  void unpack(const float* dcolumns, float* dhidden) const {
    for (int64_t i = 0; i < count; i += W) {
      const int n = (int)std::min<int64_t>(W, count - i);
      float* at[W];
      for (int j = 0; j < n; j++) at[j] = dhidden + (first + i + j) * s.width;
      unpack_transposed(dcolumns + i, ROWS_AT_ONCE, s.width, splat(1.0f), at, n);
    }
  }
};

}  // namespace

extern "C" {

// Row i's loss is -log softmax(scale * hidden[i] @ weight.T)[target[i]], 0 where the target is IGNORED; the gradients
// are those of the losses' sum, each with z times its denominator's logarithm squared, each row's times its share. shape: rows, vocab, width. hidden, dhidden: [rows, width];
// weight: [vocab, width]; dweight: zeros, [vocab rounded up to 8, width rounded up to 16]. Without `learning` no
// gradient is touched. Returns 1 when a target is outside of the vocabulary (then nothing is computed).
int dokja_cross_entropy(const int64_t* shape, const float* hidden, const float* weight, const int64_t* target,
                        const float* share, float scale, float z, int learning, float* loss, float* dhidden, float* dweight,
                        int threads) {
  const Shape s = {shape[0], shape[1], shape[2]};
  const Input in = {hidden, weight, target, share, scale, z};
  for (int64_t row = 0; row < s.rows; row++)
    if (target[row] != IGNORED && (target[row] < 0 || target[row] >= s.vocab)) return 1;
  const int64_t tall = round_up(s.width, ROWS) * ROWS_AT_ONCE, workers = std::min<int64_t>(threads, s.parts());
  const int64_t size = (s.width + s.padded() + s.parts() * (PART + 2)) * ROWS_AT_ONCE + workers * tall;
  float* columns = thread_scratch().get(size);
  float* rows = columns + s.width * ROWS_AT_ONCE;
  float* logits = rows + s.padded() * ROWS_AT_ONCE;
  float* stats = logits + s.parts() * PART * ROWS_AT_ONCE;
  float* dcolumns = stats + s.parts() * 2 * ROWS_AT_ONCE;
  for (int64_t first = 0; first < s.rows; first += ROWS_AT_ONCE) {
    const int64_t count = std::min(ROWS_AT_ONCE, s.rows - first);
    Block block = {s, in, first, count, round_up(count, 16), columns, rows, logits, stats, {}, {}};
    block.pack();
    parallel(s.parts(), threads, [&](int64_t begin, int64_t end, int) {
      for (int64_t part = begin; part < end; part++) block.score(part);
    });
    block.sum_up(loss);
    if (!learning) continue;
    std::memset(dcolumns, 0, sizeof(float) * workers * tall);
    parallel(s.parts(), threads, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t part = begin; part < end; part++) block.learn(part, dcolumns + thread * tall, dweight);
    });
    for (int64_t thread = 1; thread < workers; thread++)
      for (int64_t i = 0; i < tall; i += W) store(dcolumns + i, load(dcolumns + i) + load(dcolumns + thread * tall + i));
    block.unpack(dcolumns, dhidden);
  }
  return 0;
}

}  // extern "C"
