// Attention over pages on its own.
#include "paged.h"

using namespace dokja;

// The fields of `Paged` in their order. Refuses a query that would look at a page that its row does not hold.
extern "C" int dokja_paged_attention(const Paged* paged, int threads) { return paged_attention(*paged, threads) ? 0 : 1; }
