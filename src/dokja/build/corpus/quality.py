"""Rules that keep prose and drop what is not: mojibake, lists, menus, spam, repetition. Right for Korean.

The published rules (Gopher: Rae et al., 2021, table A1; C4: Raffel et al., 2020) count English words, and so drop clean
Korean prose: an eojeol is one stem with its particles, three syllables long in the mean, and "the" and "of" are not
there. Here shares are of characters, repetition is of eojeol and of lines, and what English stop words tell is told by
the particles and endings in which eojeol of running text end.

Time is linear in the text, and repetition is looked for in three parts of a long one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .codes import (
    ACCENTED,
    BROKEN,
    CLASSES,
    CONJOINING,
    CONTROL,
    DIGIT,
    JAMO,
    KSX1001,
    LETTERS,
    NEWLINE,
    PUNCTUATION,
    RARE,
    SPACE,
    SYMBOL,
    Stretches,
    Units,
    class_table,
    units,
    words,
)


@dataclass(frozen=True)
class QualityConfig:
    """Thresholds; all shares are 0 to 1. A rule is switched off by the value that nothing can exceed: 1, or 0 for a
    least one."""

    least_letters: int = 40  # below one or two sentences a model sees no context; conversations want less
    most_broken: float = 0.002  # replacement and private-use characters, of all; one in a page may be a stray icon
    most_rare_syllables: float = 0.05  # of Hangul; text has under 0.002 outside KS X 1001, a wrong decoder gives half
    most_accented: float = 0.5  # of letters; Vietnamese has 0.25, UTF-8 read as Latin-1 nearly all
    most_loose_jamo: float = 0.3  # of Hangul; ㅋㅋ and ㅠㅠ belong to chats, but do not make one
    most_conjoining: float = 0.02  # of Hangul; NFC leaves none unless syllables are broken (old Hangul has few)
    least_letter_share: float = 0.35  # of visible characters; program text has 0.65, formulas 0.4, tables 0.2
    most_digits: float = 0.35  # of visible characters; worked sums have 0.3, price lists 0.5
    most_symbols: float = 0.4  # punctuation and symbols, of visible characters; formulas reach 0.35, program text 0.3
    most_url: float = 0.3  # of characters in web addresses; a bibliography has 0.2
    most_lorem: float = 0.1  # of characters in filler paragraphs; a page that shows an example stays
    most_menu_lines: float = 0.3  # of lines, with two words of menus at least; a footer under an article is a tenth
    most_duplicate_lines: float = 0.3  # of characters in lines that stood before (Gopher: 0.2, without refrains)
    most_top_ngram: tuple[tuple[int, float], ...] = ((2, 0.35), (3, 0.35), (4, 0.35))  # Gopher: 0.2; names recur
    most_duplicate_ngram: tuple[tuple[int, float], ...] = ((5, 0.5), (10, 0.4))  # of letters; statutes reach 0.35
    least_endings: float = 0.33  # of Korean eojeol; prose and verse have 0.45 to 0.8, lists of names under 0.3
    least_eojeol: int = 20  # fewer say nothing about repetition or endings


_PART = 20_000  # units; repetition is looked for in three such parts, which bounds time and the effect of length
_REPEATS = 5  # a title that a short page repeats three or four times is no spam
_REPEATS_SEEN = 64  # candidates looked at, the bound on time
_LOREM, _LOREM_LENGTH = "lorem ipsum", 400  # the filler paragraph is about so long
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]+")
_MENU = re.compile(
    "로그인|로그아웃|회원가입|아이디 찾기|비밀번호 찾기|장바구니|주문조회|마이페이지|고객센터|사이트맵|바로가기|더보기|"
    "이전글|다음글|목록으로|맨 ?위로|댓글 ?쓰기|댓글 ?\\d|조회 ?수?:? ?\\d|추천 ?\\d|공유하기|스크랩|인쇄하기|구독하기|"
    "개인정보 ?처리방침|이용약관|저작권|무단 ?전재|재배포 ?금지|All [Rr]ights [Rr]eserved|Copyright|"
    "[Ll]og ?in|[Ss]ign [Uu]p|[Cc]ookie|[Ss]hare on|[Rr]ead [Mm]ore|[Pp]rivacy [Pp]olicy|[Tt]erms of"
)
_MENU_LINE = 40  # characters; a longer line that speaks of a login is a sentence
# Syllables in which particles and endings end: 은/는, 이/가, 을/를, 의, 에, 로, 도, 고, 며, 면, 서, 지, 다, 요 ...
_ENDINGS = "은는이가을를의에로와과도만고며면서지나다요죠까네군라자게여해한할된될던인일들야니데려듯걸랴아어"
_SENTENCE = re.compile("(?:[.!?。…]|[다요죠까])[\"'”’」』)\\]]*$")


def reason(text: str, config: QualityConfig) -> str | None:
    """Why a text is dropped, in a few words that are always the same for a rule; None keeps it."""
    codes = units(text)
    classes = class_table()[codes]
    counts = np.bincount(classes, minlength=CLASSES)
    found = _characters(counts, len(codes), config)
    if found is None and ("http" in text or "www." in text):
        linked = sum(match.end() - match.start() for match in _URL.finditer(text))
        found = "web addresses" if linked > config.most_url * len(text) else None
    if found is None and _lorem(text) > config.most_lorem * len(text):
        found = "filler text"
    return found or _lines(text, config) or _repetition(codes, classes, config)


def _characters(counts: NDArray[np.intp], total: int, config: QualityConfig) -> str | None:
    """The rules that need no more than how many characters of each class there are."""
    letters = int(counts[list(LETTERS)].sum())
    visible = total - int(counts[SPACE] + counts[NEWLINE] + counts[CONTROL])
    if visible < max(config.least_letters, 1):
        return "too short"
    if counts[BROKEN] + counts[CONTROL] > config.most_broken * total:
        return "broken characters"
    syllables = int(counts[KSX1001] + counts[RARE])
    jamo, conjoining = int(counts[JAMO]), int(counts[CONJOINING])
    hangul = syllables + jamo + conjoining
    rare = counts[RARE] > config.most_rare_syllables * syllables
    if rare or counts[ACCENTED] > config.most_accented * letters:
        return "wrong encoding"
    loose = jamo > config.most_loose_jamo * hangul and 2 * hangul > letters
    if loose or conjoining > config.most_conjoining * hangul:
        return "loose jamo"
    if counts[DIGIT] > config.most_digits * visible:
        return "mostly digits"
    if counts[PUNCTUATION] + counts[SYMBOL] > config.most_symbols * visible:
        return "mostly symbols"
    if letters < config.least_letter_share * visible:
        return "too few letters"
    return "too short" if letters < config.least_letters else None


def _lorem(text: str) -> int:
    """About how many characters are filler."""
    if "ipsum" not in text and "IPSUM" not in text:
        return 0
    return text.lower().count(_LOREM) * _LOREM_LENGTH


def _lines(text: str, config: QualityConfig) -> str | None:
    """Lines that stood before, menus, lists."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    if len(lines) < 3:
        return None
    length = sum(map(len, lines))
    seen = set(lines)
    if len(seen) < len(lines) and length - sum(map(len, seen)) > config.most_duplicate_lines * length:
        return "repeated lines"
    short = [line for line in lines if len(line) <= _MENU_LINE]
    if len(short) > config.most_menu_lines * len(lines):
        menu = [found[0].lower() for line in short if (found := _MENU.search(line)) and not _SENTENCE.search(line)]
        # A page about logins has the one word in all its headings, a menu has many.
        if len(menu) > config.most_menu_lines * len(lines) and len(set(menu)) > 1:
            return "menu"
    return None


@lru_cache(maxsize=1)
def _ending_table() -> NDArray[np.bool_]:
    table = np.zeros(1 << 16, np.bool_)
    table[[ord(char) for char in _ENDINGS]] = True
    return table


def _repetition(codes: Units, classes: NDArray[np.uint8], config: QualityConfig) -> str | None:
    """Endings and n-grams of eojeol in at most three parts of the text."""
    starts = (0,) if len(codes) <= 3 * _PART else (0, (len(codes) - _PART) // 2, len(codes) - _PART)
    size = len(codes) if len(starts) == 1 else _PART
    for start in starts:
        part = codes[start : start + size]
        found = words(part)
        if len(found.starts) < config.least_eojeol:
            continue
        last = part[found.places[found.ends - 1]]
        korean = class_table()[last] == KSX1001
        eojeol = int(korean.sum())
        endings = int(_ending_table()[last].sum())
        if eojeol >= config.least_eojeol and 2 * eojeol > len(last) and endings < config.least_endings * eojeol:
            return "no sentences"
        stretches = Stretches(found.values)
        letters = len(found.values)
        for n, most in config.most_top_ngram:
            if n <= len(found.starts) and _top(stretches, found.starts, found.ends, n, most * letters):
                return "repeated phrase"
        for n, most in config.most_duplicate_ngram:
            if n <= len(found.starts) and _duplicated(stretches, found.starts, found.ends, n, most * letters):
                return "repeated passages"
    return None


def _top(stretches: Stretches, starts: NDArray[np.intp], ends: NDArray[np.intp], n: int, most: float) -> bool:
    """Whether the occurrences of one n-gram, five at least, have more than `most` letters together."""
    first, last = starts[: len(starts) - n + 1], ends[n - 1 :]
    hashes = stretches.hashes(first, last)
    ordered = np.sort(hashes)
    bounds = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
    counts = np.diff(bounds)
    sizes = last - first
    # Usually nothing occurs often enough even if it were as long as the longest, and that is all to be done.
    often = np.flatnonzero((counts >= _REPEATS) & (counts * int(sizes.max()) > most))
    if not len(often):
        return False
    return any(counts[run] * sizes[np.argmax(hashes == ordered[bounds[run]])] > most for run in often[:_REPEATS_SEEN])


def _duplicated(stretches: Stretches, starts: NDArray[np.intp], ends: NDArray[np.intp], n: int, most: float) -> bool:
    """Whether n-grams that stood before cover more than `most` letters."""
    first, last = starts[: len(starts) - n + 1], ends[n - 1 :]
    hashes = stretches.hashes(first, last)
    ordered = np.sort(hashes)
    again = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
    if again * int((last - first).max()) <= most:
        return False
    _, index = np.unique(hashes, return_index=True)
    repeated = np.ones(len(first), np.bool_)
    repeated[index] = False
    edges = np.zeros(int(ends[-1]) + 1, np.intp)
    np.add.at(edges, first[repeated], 1)
    np.add.at(edges, last[repeated], -1)
    return int(np.count_nonzero(np.cumsum(edges))) > most
