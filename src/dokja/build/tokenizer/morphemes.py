"""Where the morphemes of Korean words meet, after Kiwi: a guide for training; a trained tokenizer runs without it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from ...errors import DokjaError

MARK = "\x1f"  # stands where morphemes meet; text that was read holds no control characters
WORDS = 100_000  # how many of the commonest words are analysed; the rest stay whole
_HANGUL = re.compile("[가-힣]{2,}")


class Morphemes:
    """The commonest words of texts with MARK where their morphemes meet.

    A word is analysed by itself, once, however often it is met. Where two morphemes share a syllable (갔다 is 가, 았,
    다) they are not separated there. Raises DokjaError without the extra `morphemes`.
    """

    def __init__(self, texts: Iterable[str], words: int = WORDS) -> None:
        try:
            from kiwipiepy import Kiwi
        except ImportError:
            raise DokjaError("morphemes are found by kiwipiepy: `pip install dokja[morphemes]` brings it, or train "
                             "without --morphemes") from None
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_HANGUL.findall(text))
        common = sorted(counts, key=lambda word: (-counts[word], word))[:words]
        self._marked = {}
        for word, tokens in zip(common, Kiwi(num_workers=1).tokenize(common), strict=True):
            cuts = borders((token.start, token.len) for token in tokens)
            if cuts:
                self._marked[word] = MARK.join(word[i:j] for i, j in zip([0, *cuts], [*cuts, len(word)], strict=True))

    def mark(self, text: str) -> str:
        """The text with MARK where morphemes meet."""
        return _HANGUL.sub(lambda found: self._marked.get(found[0], found[0]), text)

    def borders(self, word: str) -> list[int]:
        """Where in a word its morphemes meet; empty for one that was not analysed."""
        parts = self._marked.get(word, word).split(MARK)
        return [sum(map(len, parts[:i])) for i in range(1, len(parts))]


def borders(tokens: Iterable[tuple[int, int]]) -> list[int]:
    """From (start, length) of morphemes in order: where one begins and all before it have ended."""
    cuts, end = [], 0
    for start, length in tokens:
        if start and start >= end and start not in cuts:
            cuts.append(start)
        end = max(end, start + length)
    return cuts
