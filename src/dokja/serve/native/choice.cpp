// The next token of many requests, each by its own settings; engine/sampler.py has the same in numpy, and the papers.
#include <vector>

#include "logits.h"

using namespace dokja;

namespace {

struct Settings {  // the same fields as `Settings` in native/__init__.py; temperature > 0
  double temperature, top_p, min_p;
  int64_t top_k;  // 0: all
  uint64_t seed, draw;
};

struct Candidate {
  float x, weight;
  int64_t id;
  // The larger first, the lower id among equals.
  bool operator<(const Candidate& other) const { return x != other.x ? x > other.x : id < other.id; }
};

constexpr Candidate ALL{-INFINITY, -1.0f, INT64_MAX};  // comes behind all
constexpr double NOTHING = 88.0, DEEPER = 8.0;         // exp(-NOTHING) is no mass
constexpr double SORTED = 1024.0;                      // candidates that are put in order

// The number in [0, 1) for a draw under a seed: Philox 4x64 with 10 rounds (Salmon et al. 2011), as numpy counts.
double uniform(uint64_t seed, uint64_t draw) {
  uint64_t c[4] = {draw + 1, 0, 0, 0}, k[2] = {seed, 0};
  for (int round = 0; round < 10; round++) {
    const unsigned __int128 a = (unsigned __int128)0xD2E7470EE14C6C93u * c[0];
    const unsigned __int128 b = (unsigned __int128)0xCA5A826395121157u * c[2];
    const uint64_t next[4] = {(uint64_t)(b >> 64) ^ c[1] ^ k[0], (uint64_t)b, (uint64_t)(a >> 64) ^ c[3] ^ k[1],
                              (uint64_t)a};
    std::copy(next, next + 4, c);
    k[0] += 0x9E3779B97F4A7C15u;
    k[1] += 0xBB67AE8584CAA73Bu;
  }
  return (double)(c[0] >> 11) * 0x1p-53;
}

// The first of n whose cumulative weight is over the target; never one without weight. `before` is of those before it.
template <class F> int64_t invert(int64_t n, double target, F weight, double& before) {
  int64_t found = 0;
  double total = before = 0.0;
  for (int64_t i = 0; i < n; i++) {
    const double its = weight(i);
    if (!(its > 0)) continue;
    found = i;
    before = total;
    total += its;
    if (total > target) break;
  }
  return found;
}

// x becomes -inf at every i whose bit i % 8 of byte i / 8 is 0.
void forbid(float* x, const uint8_t* mask, int64_t n) {
  static const auto* table = [] {  // for each byte, 8 floats to take the minimum with
    static float made[256][8];
    for (int byte = 0; byte < 256; byte++)
      for (int i = 0; i < 8; i++) made[byte][i] = byte >> i & 1 ? INFINITY : -INFINITY;
    return made;
  }();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; j++) x[i + j] = x[i + j] < table[mask[i / 8]][j] ? x[i + j] : table[mask[i / 8]][j];
  for (; i < n; i++) x[i] = mask[i / 8] >> i % 8 & 1 ? x[i] : -INFINITY;
}

// One row: weights relative to the likeliest token, in blocks of REACH, and only of blocks that matter.
class Row {
 public:
  // mass: as linear_peaks tells it, or null.
  Row(const float* x, const float* peaks, const float* mass, int64_t vocab, const Settings& its, int64_t best)
      : x_(x), peaks_(peaks), known_(mass), vocab_(vocab), blocks_(ceil_div(vocab, REACH)), its_(its), best_(best),
        peak_(x[best]), sharpness_((float)(1.0 / its.temperature)), weight_(keep<13>(blocks_ * REACH)),
        top_(keep<14>(blocks_)), mass_(blocks_) {
    std::fill(top_, top_ + blocks_, -1.0f);
  }

  int64_t token() {
    if (!std::isfinite(peak_)) return best_;
    if (0 < its_.top_k && its_.top_k < vocab_) return of_few();
    Candidate last = ALL;
    if (its_.top_p < 1 || its_.min_p <= 0) {
      const double whole = masses();
      if (!std::isfinite(whole)) return best_;  // the model gave no numbers
      if (its_.top_p >= 1) return draw(whole);
      last = last_of(its_.top_p * whole);
    } else {
      // From a little under the threshold, since the weights decide.
      weigh(1e-3 - 1.001 * std::log(its_.min_p) + 1e-5 * std::fabs(peak_) * sharpness_);
    }
    double whole = 0.0;
    for (int64_t b = 0; b < blocks_; b++) whole += mass_[b] = leave(b, last);
    return draw(whole);
  }

 private:
  const float *x_, *peaks_, *known_;
  const int64_t vocab_, blocks_;
  const Settings& its_;
  const int64_t best_;
  const float peak_, sharpness_;
  float *weight_, *top_;      // of each token, and of each block's largest, -1 where a block was not weighed
  std::vector<double> mass_;  // of each block

  double masses() {
    double whole = 0.0;
    if (!known_) weigh(INFINITY);
    else
      vectors(blocks_, [&](int64_t i, int n) {
        const Vec of_block = load_n(known_ + i, n) * exp((load_n(peaks_ + i, n) - peak_) * sharpness_);
        for (int lane = 0; lane < n; lane++) mass_[i + lane] = of_block[lane];
      });
    for (const double mass : mass_) whole += mass;
    return whole;
  }

  // The blocks whose largest is at most that far below the largest, in units of the temperature.
  void weigh(double depth) {
    for (int64_t b = 0; b < blocks_; b++)
      if (top_[b] < 0 && !((peak_ - peaks_[b]) * sharpness_ > depth)) weigh_block(b);
  }

  void weigh_block(int64_t b) {
    Vec s[4] = {}, most{};
    in_block(x_, vocab_, b, [&](int64_t i, Vec v) {
      const Vec weight = exp((v - peak_) * sharpness_);
      store(weight_ + b * REACH + i * W, weight);
      s[i % 4] += weight;
      most = max(most, weight);
    });
    top_[b] = max(most);
    if (!known_) mass_[b] = sum((s[0] + s[1]) + (s[2] + s[3]));
  }

  int64_t draw(double whole) {
    double before, within;
    const double target = uniform(its_.seed, its_.draw) * whole;
    const int64_t b = invert(blocks_, target, [&](int64_t i) { return mass_[i]; }, before);
    if (top_[b] < 0) weigh_block(b);
    return b * REACH + invert(REACH, target - before, [&](int64_t i) { return weight_[b * REACH + i]; }, within);
  }

  // Takes the weight of all tokens of a block that min_p leaves out or that come behind `last`; what is left.
  double leave(int64_t b, const Candidate& last) {
    const float min_p = (float)its_.min_p;
    if (!(top_[b] > 0) || top_[b] < last.weight) return 0.0;
    float* weight = weight_ + b * REACH;
    Vec total{}, alike{};
    for (int64_t i = 0; i < REACH; i += W) {
      const Vec w = load(weight + i), left = w >= last.weight && w >= min_p ? w : Vec{};
      alike += w == last.weight ? splat(1.0f) : Vec{};
      store(weight + i, left);
      total += left;
    }
    const bool ties = sum(alike) > 0;
    for (int64_t i = 0; ties && i < REACH; i++) {
      const int64_t id = b * REACH + i;
      if (weight[i] != last.weight || id >= vocab_ || !(last < Candidate{x_[id], weight[i], id})) continue;
      weight[i] = 0.0f;
      total[0] -= last.weight;
    }
    return sum(total);
  }

  // The mass of weights of at least `low`, and how many of them are below `high`.
  std::pair<double, double> tally(float low, float high) const {
    double mass = 0.0;
    Vec count{};
    for (int64_t b = 0; b < blocks_; b++) {
      if (!(top_[b] >= low)) continue;
      Vec total{};
      for (int64_t i = 0; i < REACH; i += W) {
        const Vec w = load(weight_ + b * REACH + i);
        total += w >= low ? w : Vec{};
        count += w >= low && w < high ? splat(1.0f) : Vec{};
      }
      mass += sum(total);
    }
    return {mass, sum(count)};
  }

  // The last of the largest, one after another, with which their weights reach the target.
  Candidate last_of(double target) {
    // Weights of at least `high` fall short of the target, those of at least `low` do not: down until that is so, then
    // halving what lies between, in the logits, until few do.
    float low = 1.0f, high = 2.0f;
    double over = 0.0, between = 0.0;  // the mass of `high` and more, how many lie between
    for (double depth = DEEPER; ; depth += DEEPER) {
      weigh(depth);
      low = (float)std::exp(-depth);
      const auto [mass, count] = tally(low, high);
      between = count;
      if (mass >= target || depth >= NOTHING) break;
      high = low;
      over = mass;
    }
    while (between > SORTED) {
      const float middle = std::sqrt(low) * std::sqrt(high);
      if (!(middle > low && middle < high)) break;
      const auto [mass, count] = tally(middle, high);
      if (mass >= target) {
        low = middle;
        between = count;
      } else {
        high = middle;
        over = mass;
        between -= count;
      }
    }
    std::vector<Candidate> found;
    for (int64_t b = 0; b < blocks_; b++)
      for (int64_t i = b * REACH; top_[b] >= low && i < std::min(vocab_, (b + 1) * REACH); i++)
        if (weight_[i] >= low && weight_[i] < high) found.push_back({x_[i], weight_[i], i});
    return reaches(found, target - over);
  }

  // The same of some candidates.
  static Candidate reaches(std::vector<Candidate>& found, double target) {
    std::sort(found.begin(), found.end());
    double total = 0.0;
    for (const Candidate& one : found)
      if ((total += one.weight) >= target) return one;
    return found.empty() ? ALL : found.back();
  }

  int64_t of_few() {
    // A number that top_k logits reach, near the one that comes last of them.
    const bool few = its_.top_k <= blocks_;
    std::vector<float> all(few ? peaks_ : x_, few ? peaks_ + blocks_ : x_ + vocab_);
    std::replace_if(all.begin(), all.end(), [](float one) { return one != one; }, -INFINITY);  // no order has those
    std::nth_element(all.begin(), all.begin() + its_.top_k - 1, all.end(), std::greater<float>());
    const float low = all[its_.top_k - 1];
    weigh((peak_ - low) * sharpness_);
    std::vector<Candidate> found;
    for (int64_t b = 0; b < blocks_; b++)
      for (int64_t i = b * REACH; top_[b] > 0 && i < std::min(vocab_, (b + 1) * REACH); i++)
        if (x_[i] >= low) found.push_back({x_[i], weight_[i], i});
    if ((int64_t)found.size() > its_.top_k) {
      std::nth_element(found.begin(), found.begin() + its_.top_k - 1, found.end());
      found.resize(its_.top_k);
    }
    double whole = 0.0, before;
    for (const Candidate& one : found) whole += one.weight;
    const Candidate last = its_.top_p < 1 ? reaches(found, its_.top_p * whole) : ALL;
    std::sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
    whole = 0.0;
    for (Candidate& one : found) {
      if (one.id != best_ && (last < one || one.weight < (float)its_.min_p)) one.weight = 0.0f;
      whole += one.weight;
    }
    return found[invert((int64_t)found.size(), uniform(its_.seed, its_.draw) * whole,
                        [&](int64_t i) { return found[i].weight; }, before)].id;
  }
};

}  // namespace

// A token for each of `count` rows, numbered `which`. A mask forbids before all else. known, mass: of every row, what
// dokja_linear_peaks tells, or null, as the first must be where there are masks. Every row is one thread's, so that
// nothing depends on the others.
extern "C" int dokja_choose(float* rows, const int64_t* which, const uint8_t* const* masks, const float* known,
                            const float* mass, const Settings* settings, int64_t count, int64_t vocab, int64_t* token,
                            int threads) {
  const int64_t blocks = ceil_div(vocab, REACH);
  share(count, threads, true, [&](int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n++) {
      float* x = rows + which[n] * vocab;
      if (masks && masks[n]) forbid(x, masks[n], vocab);
      if (!known) find_peaks(x, vocab, keep<15>(blocks));
      const float* peaks = known ? known + which[n] * blocks : keep<15>(blocks);
      token[n] = place_of_largest(x, peaks, vocab);
      if (!(settings[n].temperature > 0)) continue;
      const float* its = mass ? mass + which[n] * blocks : nullptr;
      token[n] = Row(x, peaks, its, vocab, settings[n], token[n]).token();
    }
  });
  return 0;
}
