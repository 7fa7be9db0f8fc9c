"""The compressor and the n-gram model: known values, normalisation, and agreement with a slow implementation."""

from __future__ import annotations

import lzma
import math
import random
import time
from collections import Counter, defaultdict

import numpy as np
import pytest

from dokja.judge.baselines import NGram, xz_bits_per_byte

TEXTS = [
    "가을 하늘은 높고 말은 살찐다.",
    "하늘은 스스로 돕는 자를 돕는다.",
    "말은 말이고 하늘은 하늘이다.\n말은 달린다.",
    "가는 말이 고와야 오는 말이 곱다.",
    "a a a b",
] * 2 + ["가나다라", "말말말말말말", "하늘하늘하늘"]
UNSEEN = 0x110000 - 0x800


class Obvious:
    """Interpolated modified Kneser-Ney with dictionaries, written straight from the formula."""

    def __init__(self, texts: list[str], order: int) -> None:
        self.order = order
        self.alphabet = sorted(set("".join(texts)))
        raw: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            padded = ["<s>"] * (order - 1) + list(text)
            for end in range(order, len(padded) + 1):
                raw[tuple(padded[end - order : end])] += 1
        self.counts = {order: raw}
        for n in range(order - 1, 0, -1):
            # One for each different longer n-gram that ends in this one.
            self.counts[n] = Counter(gram[1:] for gram in self.counts[n + 1])
        self.discounts = {n: self._discounts(counts) for n, counts in self.counts.items()}
        self.followers: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
        for counts in self.counts.values():
            for gram, count in counts.items():
                self.followers[gram[:-1]][gram[-1]] = count

    @staticmethod
    def _discounts(counts: Counter[tuple[str, ...]]) -> list[float]:
        n = [sum(1 for count in counts.values() if count == k) for k in range(5)]
        if min(n[1:]) > 0:
            y = n[1] / (n[1] + 2 * n[2])
            made = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
            if all(0 < value <= k for k, value in enumerate(made, 1)):
                return [0, *made]
        return [0, 0.5, 1.0, 1.5]

    def chance(self, history: tuple[str, ...], char: str) -> float:
        followers = self.followers.get(history, {})
        shorter = self.chance(history[1:], char) if history else 1 / (len(self.alphabet) + 1)
        if not followers:
            return shorter
        total = sum(followers.values())
        discounts = self.discounts[len(history) + 1]
        own = followers.get(char, 0)
        rest = sum(discounts[min(count, 3)] for count in followers.values()) / total
        return (own - discounts[min(own, 3)]) / total + rest * shorter

    def bits(self, text: str) -> float:
        padded = ["<s>"] * (self.order - 1) + list(text)
        total = 0.0
        for at in range(self.order - 1, len(padded)):
            chance = self.chance(tuple(padded[at - self.order + 1 : at]), padded[at])
            if padded[at] not in self.alphabet:
                chance /= UNSEEN - len(self.alphabet)
            total -= math.log2(chance)
        return total


def test_xz_bits_per_byte() -> None:
    texts = ["가을 하늘은 높다. " * 50, "말은 살찐다."]
    data = "\n\n".join(texts).encode()
    assert xz_bits_per_byte(texts) == 8 * len(lzma.compress(data, preset=9)) / len(data)
    noise = [np.random.default_rng(0).bytes(20_000).hex()]
    assert 4 < xz_bits_per_byte(noise) < 4.8
    with pytest.raises(ValueError, match="no text"):
        xz_bits_per_byte([])


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
def test_it_is_what_the_formula_says(order: int) -> None:
    model = NGram.fit(TEXTS, order=order)
    slow = Obvious(TEXTS, order)
    asked = [*TEXTS, "새로운 글", "하늘은 파랗다. 말은 하늘이다.", "!", "", "가", "말" * 20]
    assert model.bits(asked) == pytest.approx([slow.bits(text) for text in asked], rel=1e-9)
    size = sum(len(text.encode()) for text in asked)
    assert model.bits_per_byte(asked) == pytest.approx(sum(map(slow.bits, asked)) / size)


def test_it_is_what_the_formula_says_with_estimated_discounts() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("가나다라마바사아자차카타파하", k=rng.randint(1, 3))) for _ in range(60)]
    texts = [" ".join(words[int(rng.paretovariate(0.8)) % 60] for _ in range(40)) for _ in range(20)]
    slow = Obvious(texts, 4)
    assert any(discounts != [0, 0.5, 1.0, 1.5] for discounts in slow.discounts.values())
    assert NGram.fit(texts, order=4).bits(texts[:5]) == pytest.approx([slow.bits(text) for text in texts[:5]], rel=1e-9)


@pytest.mark.parametrize("order", [1, 3, 6])
@pytest.mark.parametrize("context", ["", "하", "하늘은 ", "말은 달", "zz본 적 없는", "다.\n말은 "])
def test_probabilities_of_all_next_characters_sum_to_one(order: int, context: str) -> None:
    model = NGram.fit(TEXTS, order=order)
    known = model.bits([context + char for char in model.alphabet]) - model.bits([context])
    new = model.bits([context + "힣"]) - model.bits([context])
    assert (2.0**-known).sum() + 2.0 ** -new[0] * (UNSEEN - len(model.alphabet)) == pytest.approx(1, abs=1e-6)


def test_texts_are_scored_apart() -> None:
    model = NGram.fit(TEXTS, order=4)
    together = model.bits(["가는 말", "하늘은", "새 글"])
    assert together == pytest.approx([model.bits([text])[0] for text in ("가는 말", "하늘은", "새 글")])
    assert len(model.bits([])) == 0


def test_fitting_on_a_prefix() -> None:
    assert NGram.fit(TEXTS).fitted_bytes == sum(len(text.encode()) for text in TEXTS)
    model = NGram.fit(iter(["가나다", "라마바", "사"]), max_bytes=14)
    assert model.alphabet == "가나다라"
    assert model.fitted_bytes == 12


def test_more_of_the_same_text_makes_it_better() -> None:
    rng = random.Random(1)
    text = ["".join(rng.choices(["하늘", "말은 ", "가을 ", "높다. "], k=200)) for _ in range(30)]
    few, many = (NGram.fit(text[:n], order=5).bits_per_byte(text[-3:]) for n in (1, 25))
    # Each of 600 words is one of four, which costs two bits.
    bytes_of = sum(len(part.encode()) for part in text[-3:])
    assert many < few
    assert many == pytest.approx(2 * 600 / bytes_of, rel=0.05)


def test_what_cannot_be_fitted_or_scored() -> None:
    with pytest.raises(ValueError, match="no text to fit"):
        NGram.fit(["", ""])
    with pytest.raises(ValueError, match="order"):
        NGram.fit(TEXTS, order=0)
    with pytest.raises(ValueError, match="no text to score"):
        NGram.fit(TEXTS).bits_per_byte([""])


@pytest.mark.slow
def test_six_megabytes_in_seconds() -> None:
    rng = np.random.default_rng(0)
    syllables = np.array([chr(0xAC00 + 7 * i) for i in range(1500)])
    texts = ["".join(syllables[np.minimum(rng.zipf(1.3, 700), 1500) - 1]) for _ in range(3000)]
    start = time.process_time()
    model = NGram.fit(texts[150:])
    model.bits_per_byte(texts[:150])
    assert model.fitted_bytes > 5_900_000
    assert time.process_time() - start < 24  # twice the 12 s on the machine it was written on
