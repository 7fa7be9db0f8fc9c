// What is asked of rows of logits besides a token: the norm, and the likeliest with its probability.
#include "linear.h"

using namespace dokja;

// For each of `count` rows, numbered `which`: log sum exp of it, and the largest of each block, unless known has them of
// every row. Every row is one thread's, so that nothing depends on the others.
extern "C" int dokja_scan(const float* rows, const int64_t* which, const float* known, int64_t count, int64_t vocab,
                          float* peaks, double* norm, int threads) {
  const int64_t blocks = ceil_div(vocab, REACH);
  share(count, threads, true, [&](int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n++) {
      const float* x = rows + which[n] * vocab;
      if (!known) find_peaks(x, vocab, peaks + n * blocks);
      const float* peak = known ? known + which[n] * blocks : peaks + n * blocks;
      const float largest = *std::max_element(peak, peak + blocks);
      double mass = 0.0;
      for (int64_t b = 0; b < blocks; b++) mass += block_mass(x, vocab, b, largest, 1.0f);
      norm[n] = largest + std::log(mass);
    }
  });
  return 0;
}

// Of each state [N, C]: the token that the head finds likeliest, and its probability when logits are multiplied by
// sharpness[n] > 0.
extern "C" int dokja_likeliest(const Matrix* head, const float* states, int64_t count, const float* sharpness,
                               int64_t* token, float* probability, int threads) {
  const int64_t vocab = head->outputs;
  float* logits = keep<12>(count * vocab);
  linear(*head, states, head->inputs, count, logits, vocab, threads);
  each(count, vocab, threads, [&](int64_t n) {
    const float* x = logits + n * vocab;
    const int64_t best = std::max_element(x, x + vocab) - x;
    Vec total{};
    float rest = 0.0f;
    int64_t i = 0;
    for (; i + W <= vocab; i += W) total += exp((load(x + i) - x[best]) * sharpness[n]);
    for (; i < vocab; i++) rest += std::exp((x[i] - x[best]) * sharpness[n]);
    const float likely = 1.0f / (sum(total) + rest);
    token[n] = best;
    probability[n] = likely == likely ? likely : 0.0f;  // logits may be no numbers
  });
  return 0;
}
