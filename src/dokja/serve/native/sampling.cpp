// What the sampler reads of whole rows of logits: where they are large, and how much mass lies where.
#include "linear.h"

using namespace dokja;

// For each of `count` rows: best, the first place of its largest; peaks[b], the largest of block b; and, where
// temperature > 0, sums[b], the block's share of sum exp((x - largest) / temperature). which: the rows' numbers, all in
// their order where it is null. A mask forbids before all else. known: of every row, the peaks, where they are known and
// nothing is masked; peaks may be null then, and sums where no temperature is over 0. Every row is one thread's, so that
// nothing depends on the others.
extern "C" int dokja_scan(float* rows, const int64_t* which, const uint8_t* const* masks, const float* known,
                          const float* temperature, int64_t count, int64_t vocab, int64_t* best, float* peaks,
                          double* sums, int threads) {
  const int64_t blocks = ceil_div(vocab, REACH);
  bool long_enough = !known;  // to be worth waking threads for: where peaks are known, a greedy row is not
  for (int64_t n = 0; n < count; n++) long_enough |= temperature[n] > 0;
  share(count, threads, long_enough, [&](int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n++) {
      const int64_t row = which ? which[n] : n;
      float* x = rows + row * vocab;
      if (!known) find_peaks(x, masks ? masks[n] : nullptr, vocab, peaks + n * blocks);
      const float* peak = known ? known + row * blocks : peaks + n * blocks;
      best[n] = place_of_largest(x, peak, vocab);
      if (!(temperature[n] > 0)) continue;
      const float largest = *std::max_element(peak, peak + blocks);
      for (int64_t b = 0; b < blocks; b++)
        sums[n * blocks + b] = block_mass(x, vocab, b, largest, 1.0f / temperature[n]);
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
