// Threads that share the work of one call, piece by piece.
//
// Pieces are claimed, not dealt out: a thread whose core is busy with something else takes fewer of them and holds nobody
// up, where a team of OpenMP waits for each of its members. Between calls a thread looks out for the next one for a
// moment and then sleeps, so that it takes nothing from the rest of the server.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#ifdef __unix__
#include <pthread.h>
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace dokja {

inline void breathe() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  typedef void (*Call)(void*, int64_t, int64_t);

  // The process's. It is never destroyed, since its threads live as long; a forked child begins with a new one.
  static Pool& of_process() {
#ifdef __unix__
    static const int once = pthread_atfork(nullptr, nullptr, [] { current() = new Pool; });
    (void)once;
#endif
    return *current();
  }

  // call(what, begin, end) over [0, n) in pieces. Where another thread is being served, the caller works alone, and so it
  // does where all others sleep and the work is not worth to wake them.
  void run(int64_t n, int64_t piece, int threads, bool wake, Call call, void* what) {
    std::unique_lock<std::mutex> mine(served_, std::try_to_lock);
    if (!mine || (!wake && asleep_.load() == workers_)) return call(what, 0, n);
    for (; workers_ < threads - 1; workers_++) std::thread(&Pool::help, this, workers_).detach();
    n_ = n, piece_ = piece, helpers_ = threads - 1, call_ = call, what_ = what;
    next_.store(0);
    home_.store(core());
    round_.fetch_add(1);  // odd: there is work
    if (asleep_.load()) {
      std::lock_guard<std::mutex> guard(sleep_);
      wake_.notify_all();
    }
    work();
    round_.fetch_add(1);
    for (int tries = 0; inside_.load(); tries++) tries < 200 ? breathe() : std::this_thread::yield();
  }

 private:
  static Pool*& current() {
    static Pool* pool = new Pool;
    return pool;
  }

  void work() {
    for (int64_t at; (at = next_.fetch_add(piece_)) < n_;) call_(what_, at, std::min(n_, at + piece_));
  }

  static int core() {
#ifdef __linux__
    return sched_getcpu();
#else
    return -2;  // unknown: never the same
#endif
  }

  bool waits(uint64_t seen) const {
    const uint64_t round = round_.load();
    return round % 2 == 0 || round == seen;
  }

  void help(int index) {
    constexpr auto LOOKOUT = std::chrono::microseconds(60);
    for (uint64_t seen = 0;;) {
      const auto since = std::chrono::steady_clock::now();
      // On the core of the one who gives the work, looking out would only keep that one from giving it.
      while (waits(seen) && core() != home_.load() && std::chrono::steady_clock::now() - since < LOOKOUT)
        for (int i = 0; i < 8 && waits(seen); i++) breathe();
      if (waits(seen)) {
        std::unique_lock<std::mutex> guard(sleep_);
        asleep_.fetch_add(1);
        wake_.wait(guard, [&] { return !waits(seen); });
        asleep_.fetch_sub(1);
      }
      seen = round_.load();
      inside_.fetch_add(1);  // before looking again: `run` closes the round first, then waits for who is inside
      if (seen % 2 && round_.load() == seen && index < helpers_) work();
      inside_.fetch_sub(1);
    }
  }

  std::mutex served_, sleep_;
  std::condition_variable wake_;
  int workers_ = 0;
  int64_t n_ = 0, piece_ = 1, helpers_ = 0;
  Call call_ = nullptr;
  void* what_ = nullptr;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint64_t> round_{0};
  alignas(64) std::atomic<int> inside_{0}, asleep_{0}, home_{-1};
};

// f(begin, end) over [0, n) in any order, by up to `threads` threads; wake: whether it takes longer than to wake one.
template <class F> inline void share(int64_t n, int threads, bool wake, F f) {
  if (threads < 2 || n < 2) {
    if (n > 0) f(int64_t{0}, n);
    return;
  }
  const int64_t piece = (n + 8 * threads - 1) / (8 * threads);
  Pool::of_process().run(n, piece, threads, wake, [](void* what, int64_t begin, int64_t end) { (*(F*)what)(begin, end); },
                         &f);
}

}  // namespace dokja
