"""Attention over pages: the kernel against float64 and the PyTorch path, and each query alone against all at once."""

from __future__ import annotations

import pytest
import torch
from test_kernels_linear import error, threads, without_kernels
from torch import Tensor

from dokja.serve import native
from dokja.serve.engine.paged import Places, paged_attention

PAGE = 16

# heads, key/value heads, key dim, value dim, window, sinks, a row's queries: where they begin and end
CASES = [
    (4, 1, 256, 256, 48, False, {0: (0, 70), 2: (99, 100), 1: (1, 3)}),
    (8, 2, 64, 64, None, False, {1: (40, 41), 0: (0, 130), 2: (7, 9)}),
    (6, 3, 20, 12, 5, True, {0: (0, 33), 1: (30, 31), 2: (63, 66)}),
    (3, 1, 72, 64, None, True, {0: (0, 17), 1: (128, 129)}),
    (70, 1, 24, 16, None, False, {0: (0, 4), 1: (64, 65)}),
    (2, 1, 8, 8, None, False, {0: (2100, 2103), 1: (1023, 1026)}),
    (2, 1, 8, 8, 1500, True, {0: (2100, 2103), 1: (1023, 1026)}),
]


class Step:
    """Random queries, keys and values of some rows; pages lie in any order, unused ones hold what is not a number."""

    def __init__(self, heads: int, kv_heads: int, dim: int, value_dim: int, window: int | None, sinks: bool,
                 spans: dict[int, tuple[int, int]]) -> None:
        torch.manual_seed(heads)
        self.window, self.scale, self.spans = window, dim**-0.5, spans
        self.rows = [row for row, (begin, end) in spans.items() for _ in range(begin, end)]
        self.positions = [place for begin, end in spans.values() for place in range(begin, end)]
        self.q = 2 * torch.randn(len(self.rows), heads, dim)
        self.sinks = torch.randn(heads) if sinks else None
        pages = {row: -(-end // PAGE) for row, (_, end) in spans.items()}
        order = torch.randperm(sum(pages.values()) + 3).tolist()
        self.k = torch.full((len(order), PAGE, kv_heads, dim), float("nan"))
        self.v = torch.full((len(order), PAGE, kv_heads, value_dim), float("nan"))
        self.table = torch.full((max(spans) + 1, max(pages.values()) + 1), -1, dtype=torch.int32)
        for row, (begin, end) in spans.items():
            low = 0 if window is None else max(0, begin - window + 1)
            for position in range(low, end):
                if self.table[row, position // PAGE] < 0:
                    self.table[row, position // PAGE] = order.pop()
                page = self.table[row, position // PAGE]
                self.k[page, position % PAGE] = torch.randn(kv_heads, dim)
                self.v[page, position % PAGE] = torch.randn(kv_heads, value_dim)

    def run(self, some: list[int]) -> Tensor:
        at = Places.of([self.rows[i] for i in some], [self.positions[i] for i in some])
        return paged_attention(self.q[some], self.k, self.v, self.table, at, window=self.window, scale=self.scale,
                               sinks_H=self.sinks)

    def exact(self) -> Tensor:
        out = []
        for i, (row, position) in enumerate(zip(self.rows, self.positions, strict=True)):
            low = 0 if self.window is None else max(0, position - self.window + 1)
            places = range(low, position + 1)
            k, v = (torch.stack([side[self.table[row, p // PAGE], p % PAGE] for p in places]).double()
                    for side in (self.k, self.v))
            groups = self.q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
            scores = torch.einsum("hd,shd->hs", self.q[i].double(), k) * self.scale
            if self.sinks is not None:
                scores = torch.cat((scores, self.sinks.double()[:, None]), dim=1)
            out.append(torch.einsum("hs,shv->hv", scores.softmax(-1)[:, : len(places)], v))
        return torch.stack(out)


@pytest.mark.parametrize("case", CASES)
def test_a_query_gets_the_mean_of_what_it_sees(case: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(*case)
    exact, everything = step.exact(), list(range(len(step.rows)))
    out = step.run(everything)
    assert error(out, exact) < 1e-6
    with threads(2):
        assert torch.equal(step.run(everything), out)
    begins = [0, *(i for i in everything[1:] if step.rows[i] != step.rows[i - 1]), len(everything)]
    for i in range(len(begins) - 1):
        some = everything[begins[i] : begins[i + 1]]
        assert torch.equal(step.run(some), out[some])  # a row without the others
        assert torch.equal(torch.cat([step.run([one]) for one in some]), out[some])  # each query alone
        for chunk in (3, 11):
            cut = [step.run(some[j : j + chunk]) for j in range(0, len(some), chunk)]
            assert torch.equal(torch.cat(cut), out[some])
    without_kernels(monkeypatch)
    step.k.nan_to_num_()  # this path multiplies what no query sees by 0
    step.v.nan_to_num_()
    assert error(step.run(everything), exact) < 1e-6


def test_values_may_be_part_of_the_keys() -> None:
    step = Step(5, 1, 40, 32, None, False, {0: (0, 40), 1: (20, 21)})
    step.v = step.k[..., :32]
    assert error(step.run(list(range(len(step.rows)))), step.exact()) < 1e-6


@pytest.mark.skipif(native.library() is None, reason="no C++ compiler")
def test_a_page_that_is_not_held_is_refused() -> None:
    step = Step(2, 1, 8, 8, None, False, {0: (20, 21)})
    step.table[0, 0] = -1
    with pytest.raises(ValueError, match="out of range"):
        step.run([0])
