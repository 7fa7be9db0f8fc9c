"""Which language a text is in: by script arithmetic where that decides, by py3langid for the other scripts.

Korean mixes: Latin terms take Korean particles, code stands between paragraphs, older law is half in Hanja. So Korean
is told by words that hold Hangul, not by the share of letters. Chinese and Japanese are told apart by kana. Program
text is told by its lines. What is left (Latin, Cyrillic, Arabic, ...) goes to py3langid (Lui and Baldwin, "langid.py",
2012), whose model is bundled as arrays and needs no network.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ...errors import DokjaError
from .codes import (
    ACCENTED,
    CLASSES,
    CONJOINING,
    HAN,
    JAMO,
    KANA,
    KSX1001,
    LATIN,
    OTHER,
    RARE,
    class_table,
    units,
)

CODE = "code"  # program text; not an ISO code
UNDETERMINED = "und"  # no letters (ISO 639-2)

_PART = 800  # characters; three such parts of a longer text are looked at, so the time is bounded
_HANGUL = re.compile("[가-힣ㄱ-ㅣ\u1100-\u11ff]")
_KOREAN_WORDS = 0.3  # of the words of letters; "The word 안녕 means hello" has 0.2, "React 서버 component를 쓴다" 0.75
_CODE_LINES = 0.35  # of the characters in lines; the rest of program text is comments, documentation and continuations
_CODE_LETTERS = 0.75  # Latin, of the letters; with more Hangul it is Korean with a listing
_CODE = re.compile(
    r"""\s*(?:
        (?:def|class|struct|enum|import|from|return|public|private|protected|static|const|let|var|function|package|using
          |namespace|fn|func|async|await|export|elif|else|try|catch|except|finally|switch|case|typedef|template)\b
            [^.]*[\w;:{(),\]}>"']?$
        |(?:if|for|while|switch|with)\b.*[:{;)]$
        |(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|FROM|WHERE)\s
        |[#]\s*(?:include|define|ifdef|endif|pragma)\b | //|/\*|\*/|\#! | @\w+(?:\(.*\))?$ | </?[A-Za-z][^>]*>
        |[{}()\[\];,]+$
    )""",
    re.VERBOSE,
)
_CODE_MARKS = re.compile(
    r"[{};]\s*$|[)\]]\s*[,:{]\s*$|\w\(|=>|->|::|[=!<>+\-*/|&]=|\w\s?=\s?[\w\"'\[({]|\w\.\w+\(|\];?$"
    r"|^\"[^\"]*\"\s*:"
)


def identify(text: str) -> tuple[str, float]:
    """The language of a text and the confidence in it, 0 to 1.

    ISO 639-1 ("ko", "en", "ja", "zh", ...); "code" for program text, "und" where there are no letters.
    Raises DokjaError when the text needs py3langid and it is not installed.
    """
    sample = text
    if len(text) > 3 * _PART:
        middle = (len(text) - _PART) // 2
        sample = "\n".join((text[:_PART], text[middle : middle + _PART], text[-_PART:]))
    counts = np.bincount(class_table()[units(sample)], minlength=CLASSES)
    hangul = int(counts[KSX1001] + counts[RARE] + counts[JAMO] + counts[CONJOINING])
    han, kana = int(counts[HAN]), int(counts[KANA])
    others = int(counts[LATIN] + counts[ACCENTED] + counts[OTHER])
    letters = hangul + han + kana + others
    if not letters:
        return UNDETERMINED, 1.0
    if hangul > 0.6 * letters:
        return "ko", hangul / letters
    if others > _CODE_LETTERS * letters and (share := _code_lines(sample)) > _CODE_LINES:
        return CODE, share
    if hangul:
        words = sample.split()
        korean = sum(1 for word in words if _HANGUL.search(word))
        # Chinese and Japanese have no spaces, so their words are counted by letters: about two make one.
        foreign = sum(1 for word in words if word.isascii() and any(map(str.isalpha, word))) + (han + kana * 2) // 4
        if korean and korean >= _KOREAN_WORDS * (korean + foreign):
            return "ko", korean / (korean + foreign)
    cjk = han + kana
    # A Han character says about as much as three Latin letters.
    if 3 * cjk > others + 3 * hangul:
        sure = 3 * cjk / (3 * cjk + others + 3 * hangul)
        return ("ja", sure) if kana > 0.05 * cjk else ("zh", sure)
    found, sure = _classifier()(sample)
    if sure < 0.5 and sample.isascii():  # "Hello!" is too short for the classifier; in a Korean corpus it is English
        found = "en"
    return found, sure * (1 - hangul / letters)


def _code_lines(sample: str) -> float:
    """The share of characters that stand in lines of program text."""
    code = whole = 0
    before = ""
    for line in map(str.strip, sample.splitlines()):
        whole += len(line)
        # A Korean sentence names functions and types; with a comment before it the line is code all the same.
        # One line that begins with # is a heading of Markdown, a second after it a comment.
        if (
            _CODE.match(line)
            or (_CODE_MARKS.search(line) and not _HANGUL.search(line))
            or line[:1] == before[:1] == "#"
        ):
            code += len(line)
        before = line or before
    return code / whole if whole else 0.0


@lru_cache(maxsize=1)
def _classifier() -> Callable[[str], tuple[str, float]]:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise DokjaError(
            "telling languages apart needs py3langid; install it with `pip install dokja[corpus]`"
        ) from None
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def classify(sample: str) -> tuple[str, float]:
        found, sure = model.classify(sample)
        return str(found), float(sure)

    return classify
