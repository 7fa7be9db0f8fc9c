"""Text as arrays: UTF-16 units, their classes, words after normalisation, and hashes of any stretch of them.

The quality rules, near-duplicate shingles and decontamination n-grams all look at a text this way, so that the work per
character is NumPy's. A unit is one of UTF-16; a character beyond the basic plane is two units of class SYMBOL.

Hash of a stretch: h = (sum of v[unit] * R**position) * R**-start mod 2**64 with odd R, which does not depend on where
the stretch stands and costs one prefix sum per text (Karp and Rabin, "Efficient randomized pattern-matching
algorithms", 1987), then the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), as low bits of such sums are weak.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Units = NDArray[np.uint16]
Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]

# Classes of units. KSX1001 and RARE are precomposed Hangul syllables: the 2,350 that KS X 1001 knows, and the rest.
(SPACE, NEWLINE, CONTROL, DIGIT, PUNCTUATION, SYMBOL, LATIN, ACCENTED, KSX1001, RARE, JAMO, CONJOINING, HAN, KANA,
 OTHER, BROKEN) = range(16)
CLASSES = 16
LETTERS = (LATIN, ACCENTED, KSX1001, RARE, JAMO, CONJOINING, HAN, KANA, OTHER)

_R = 0x9E3779B97F4A7C15 | 1
_R_INVERSE = pow(_R, -1, 1 << 64)
_MASK = (1 << 64) - 1


def units(text: str) -> Units:
    """The UTF-16 units of a text [units]; lone surrogates are kept."""
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)


@lru_cache(maxsize=1)
def class_table() -> NDArray[np.uint8]:
    """The class of every unit [65536]."""
    return np.fromiter(map(_class, range(1 << 16)), np.uint8, 1 << 16)


def _class(code: int) -> int:
    char = chr(code)
    if char == "\n":
        return NEWLINE
    if 0xAC00 <= code <= 0xD7A3:
        try:
            char.encode("euc_kr")
        except UnicodeEncodeError:
            return RARE
        # Python's EUC-KR writes the other syllables as sequences of eight bytes.
        return KSX1001 if len(char.encode("euc_kr")) == 2 else RARE
    if 0x3131 <= code <= 0x318E or 0xFFA1 <= code <= 0xFFDC:
        return JAMO
    if 0x1100 <= code <= 0x11FF or 0xA960 <= code <= 0xA97C or 0xD7B0 <= code <= 0xD7FB:
        return CONJOINING
    if 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code in (0x3005, 0x3007):
        return HAN
    if (0x3041 <= code <= 0x30FF and code != 0x30FB) or 0x31F0 <= code <= 0x31FF or 0xFF66 <= code <= 0xFF9D:
        return KANA
    if code == 0xFFFD or 0xE000 <= code <= 0xF8FF or 0x80 <= code <= 0x9F:
        return BROKEN  # the replacement character, private use, C1 controls: what a wrong decoder leaves
    if 0xD800 <= code <= 0xDFFF:
        return SYMBOL  # nearly always emoji
    category = unicodedata.category(char)
    if char in "\t\r\x0b\x0c" or category == "Zs":
        return SPACE
    if category in ("Zl", "Zp"):
        return NEWLINE
    if category == "Cf":
        return SPACE  # zero-width spaces and joiners, byte order marks
    if category[0] == "C":
        return BROKEN if category == "Cn" else CONTROL
    if category[0] == "N":
        return DIGIT if category == "Nd" else SYMBOL
    if category[0] == "P":
        return PUNCTUATION
    if category[0] == "S":
        return SYMBOL
    if category[0] == "M":
        return OTHER
    if char.isascii() or 0xFF21 <= code <= 0xFF5A:
        return LATIN
    return ACCENTED if code < 0x250 else OTHER


@lru_cache(maxsize=1)
def _values() -> tuple[Hashes, NDArray[np.bool_]]:
    """For every unit, a 64-bit value of its case- and width-folded form, and whether it belongs to a word.

    A fold that would be several characters (the ligature ﬁ) is left out: positions must stay aligned.
    """
    classes = class_table()
    word = np.isin(classes, (*LETTERS, DIGIT))
    folded = np.arange(1 << 16, dtype=np.uint64)
    for code in np.flatnonzero(word):
        fold = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", chr(code)).casefold())
        if len(fold) == 1 and ord(fold) < 1 << 16:
            folded[code] = ord(fold)
    return mix(folded + np.uint64(1)), word


def mix(values: Hashes) -> Hashes:
    """SplitMix64's finaliser, elementwise."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


_powers: tuple[Hashes, Hashes] = (np.ones(1, np.uint64), np.ones(1, np.uint64))


def powers(count: int) -> tuple[Hashes, Hashes]:
    """R**i and R**-i mod 2**64 for i below count; grown by doubling and kept."""
    global _powers
    if len(_powers[0]) < count:
        size = max(1 << 16, 1 << (count - 1).bit_length())
        grown = []
        for base in (_R, _R_INVERSE):
            table = np.full(size, base, np.uint64)
            table[0] = 1
            grown.append(np.multiply.accumulate(table))
        _powers = (grown[0], grown[1])
    return _powers


class Stretches:
    """Prefix sums over the units of one sequence, from which the hash of any stretch follows."""

    def __init__(self, values: Hashes) -> None:
        forward, self._backward = powers(len(values) + 1)
        self._sums = np.zeros(len(values) + 1, np.uint64)
        np.cumsum(values * forward[: len(values)], out=self._sums[1:])

    def hashes(self, starts: Places, ends: Places) -> Hashes:
        """The hash of each stretch [start, end)."""
        sums = self._sums
        return mix((sums[ends] - sums[starts]) * self._backward[starts])

    def windows(self, length: int) -> Hashes:
        """The hashes of all stretches of `length` units, one a start; none when the sequence is shorter."""
        count = len(self._sums) - length
        if count <= 0:
            return np.empty(0, np.uint64)
        return mix((self._sums[length:] - self._sums[:count]) * self._backward[:count])


class Words(NamedTuple):
    """The words of a normalised text: letters and digits, case and width folded, without what stands between them.

    values [letters]: one 64-bit value a letter, in order; starts, ends [words]: each word within them;
    places [letters]: where each letter stands in the UTF-16 units of the text.
    """

    values: Hashes
    starts: Places
    ends: Places
    places: Places


def words(text_units: Units) -> Words:
    """Normalise units and divide them into words; punctuation, symbols and whitespace divide, and are left out."""
    table, word = _values()
    inside = word[text_units]
    places = np.flatnonzero(inside)
    if not len(places):
        none = np.empty(0, np.intp)
        return Words(np.empty(0, np.uint64), none, none, none)
    first = np.flatnonzero(np.diff(places, prepend=places[0] - 2) > 1)
    return Words(table[text_units[places]], first, np.append(first[1:], len(places)), places)
