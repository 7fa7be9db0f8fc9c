"""Korean predicates by rule: from a dictionary form and its irregular class to any of the endings in use here.

An ending is written as grammars of Korean write it after a closed dark stem, without the dash: "고", "으면", "아서",
"았다", "는다", "습니다", "은", "을". Its first syllable says how it joins:

    으 은 을 음 읍   the vowel 으 drops after an open stem and after ㄹ (가면, 살면, 먹으면)
    아 았            아 or 어 by vowel harmony, contracted where Korean contracts (가서, 봐서, 먹어서)
    는 네 ㅅ...      a final ㄹ drops before ㄴ and ㅅ (사는, 사네)
    all others       joined as they are (가고, 살고, 먹고)

For adjectives "는다" gives the bare form (예쁘다) and "는", "는데" give "은", "은데" (예쁜, 예쁜데).
Source: 한글 맞춤법, articles 15 to 18 and 34 to 38 (the National Institute of Korean Language).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dokja.build.hangul import compose, decompose, final_of

IRREGULARS = ("", "ㅂ", "ㄷ", "ㅅ", "ㅎ", "르", "러", "우", "여")
STYLES = ("plain", "polite", "formal", "casual")

# The endings that close a sentence, by register: N present, P past, F future or guess, S suggestion, I intention.
FINAL_ENDINGS: dict[str, dict[str, str]] = {
    "plain": {"N": "는다", "P": "았다", "F": "을 것이다", "S": "자", "I": "겠다", "W": "고 싶다", "Q": "을까"},
    "polite": {
        "N": "아요", "P": "았어요", "F": "을 거예요", "S": "아요", "I": "을게요", "W": "고 싶어요", "Q": "을까요",
    },
    "formal": {
        "N": "습니다", "P": "았습니다", "F": "을 것입니다", "S": "읍시다", "I": "겠습니다", "W": "고 싶습니다",
        "Q": "을까요",
    },
    "casual": {"N": "아", "P": "았어", "F": "을 거야", "S": "자", "I": "을게", "W": "고 싶어", "Q": "을까"},
}  # fmt: skip

_BRIGHT = frozenset("ㅏㅑㅗ")
_KEEP_I = frozenset("피비기시띠끼")  # one-syllable stems in ㅣ that are written uncontracted: 피어, 비어
_NOT_HONORIFIC = frozenset(("마시", "모시", "쑤시", "들이마시", "적시", "부시", "눈부시"))
_MERGE = {"ㅏ": "ㅏ", "ㅓ": "ㅓ", "ㅐ": "ㅐ", "ㅔ": "ㅔ", "ㅕ": "ㅕ", "ㅗ": "ㅘ", "ㅜ": "ㅝ", "ㅣ": "ㅕ", "ㅚ": "ㅙ"}
_OPEN_WIDE = {"ㅏ": "ㅐ", "ㅑ": "ㅒ", "ㅓ": "ㅐ", "ㅕ": "ㅖ"}  # ㅎ irregular: 빨갛다 빨개, 하얗다 하얘, 어떻다 어때


@dataclass(frozen=True, slots=True)
class Predicate:
    """A verb or an adjective: its dictionary form, whether it describes, and its irregular class ("" is regular)."""

    word: str
    adjective: bool = False
    irregular: str = ""

    def __post_init__(self) -> None:
        if not self.word.endswith("다") or self.irregular not in IRREGULARS:
            raise ValueError(f"{self.word!r} ({self.irregular!r}) is not a dictionary form with an irregular class")


def _with_final(syllables: str, final: str) -> str:
    lead, vowel, _ = decompose(syllables[-1])
    return syllables[:-1] + compose(lead, vowel, final)


def _before_eu(stem: str, irregular: str) -> tuple[str, bool]:
    """The stem as it stands before 으, and whether 으 is kept."""
    final = final_of(stem)
    if irregular == "ㅂ":
        return _with_final(stem, "") + "우", False
    if irregular == "ㄷ":
        return _with_final(stem, "ㄹ"), True
    if irregular == "ㅅ":
        return _with_final(stem, ""), True
    if irregular == "ㅎ":
        return _with_final(stem, ""), False
    return stem, bool(final) and final != "ㄹ"


def infinitive(stem: str, irregular: str = "") -> str:
    """The stem with 아 or 어, contracted: 가 가, 오 와, 마시 마셔, 돕 도와, 짓 지어, 모르 몰라."""
    lead, vowel, final = decompose(stem[-1])
    head = stem[:-1]
    if irregular == "여" or stem.endswith("하"):
        return head + "해"
    if irregular == "ㅂ":
        # Only 돕다 and 곱다 keep the harmony of ㅗ.
        return _with_final(stem, "") + ("와" if stem in ("돕", "곱") else "워")
    if irregular == "ㅎ":
        wide = _OPEN_WIDE[vowel]
        if vowel == "ㅓ" and stem in ("누렇", "퍼렇", "뻘겋", "벌겋", "시퍼렇", "싯누렇", "둥그렇", "커다렇"):
            wide = "ㅔ"
        return head + compose(lead, wide)
    if irregular == "르":
        before = decompose(head[-1])[1]
        return _with_final(head, "ㄹ") + ("라" if before in _BRIGHT else "러")
    if irregular == "러":
        return stem + "러"
    if irregular == "우":
        return head + compose(lead, "ㅓ")
    if irregular == "ㄷ":
        return _with_final(stem, "ㄹ") + ("아" if vowel in _BRIGHT else "어")
    if irregular == "ㅅ":
        return _with_final(stem, "") + ("아" if vowel in _BRIGHT else "어")
    if final:
        return stem + ("아" if vowel in _BRIGHT else "어")
    if vowel == "ㅡ":
        bright = bool(head) and decompose(head[-1])[1] in _BRIGHT
        return head + compose(lead, "ㅏ" if bright else "ㅓ")
    if vowel not in _MERGE or (not head and stem in _KEEP_I) or stem in ("쇠", "아니"):
        return stem + "어"
    return head + compose(lead, _MERGE[vowel])


def _join_eu(predicate: Predicate, stem: str, ending: str) -> str:
    """An ending that begins with 으, 은, 을, 음 or 읍."""
    base, keep = _before_eu(stem, predicate.irregular)
    letter = decompose(ending[0])[2]
    rest = ending[1:]
    # A regular final ㄹ drops before ㄴ, ㅂ, ㅅ and the ending ㄹ; ㄷ irregulars (걸은, 걸을) keep theirs.
    liquid = final_of(base) == "ㄹ" and predicate.irregular != "ㄷ"
    if letter:
        if letter == "ㅁ" and liquid:
            return _with_final(base, "ㄻ") + rest
        if keep:
            return base + ending
        return _with_final(base, letter) + rest
    if keep:
        return base + ending
    if liquid and decompose(rest[0])[0] in "ㄴㅅ":
        base = _with_final(base, "")
    return base + rest


@lru_cache(maxsize=65536)
def conjugate(predicate: Predicate, ending: str) -> str:
    """The predicate with an ending: conjugate(Predicate("돕다", irregular="ㅂ"), "아서") == "도와서".

    ValueError for an empty ending.
    """
    if not ending:
        raise ValueError(f"{predicate.word} needs an ending")
    before, space, last = predicate.word.rpartition(" ")
    if space:
        # Only the last word conjugates; its length matters (피어 but 마셔).
        return before + space + conjugate(Predicate(last, predicate.adjective, predicate.irregular), ending)
    if predicate.word == "아니다" and ending in ("아요", "아", "아서", "아도"):
        return {"아요": "아니에요", "아": "아니야", "아서": "아니라서", "아도": "아니어도"}[ending]
    stem = predicate.word[:-1]
    if ending == "아요" and len(stem) > 1 and stem.endswith("시") and stem not in _NOT_HONORIFIC:
        return stem[:-1] + "세요"
    existential = stem.endswith(("있", "없")) and (predicate.adjective or stem in ("있", "없"))
    describes = predicate.adjective or existential
    if ending == "는다":
        if describes:
            return predicate.word
        if final_of(stem) in ("", "ㄹ"):
            return _with_final(stem, "ㄴ") + "다"
        return stem + ending
    if ending in ("는", "는데", "는데도", "는지", "는가", "는군요", "는 편이다"):
        if ending == "는군요" and describes:
            return stem + "군요"
        if describes and not existential:
            ending = "은" + ending[1:]
    if ending.startswith("습"):
        if final_of(stem) in ("", "ㄹ"):
            return _with_final(stem, "ㅂ") + ending[1:]
        return stem + ending
    first = ending[0]
    if first in "으은을음읍":
        return _join_eu(predicate, stem, ending)
    if first == "아":
        return infinitive(stem, predicate.irregular) + ending[1:]
    if first == "았":
        rest = ending[1:]
        return _with_final(infinitive(stem, predicate.irregular), "ㅆ") + rest
    if final_of(stem) == "ㄹ" and decompose(first)[0] in "ㄴㅅ":
        stem = _with_final(stem, "")
    return stem + ending


_COPULA_OPEN = {"아요": "예요", "아": "야", "아서": "여서", "아도": "여도"}
_COPULA_CLOSED = {"아요": "이에요", "아": "이야", "아서": "이어서", "아도": "이어도"}


@lru_cache(maxsize=65536)
def copula(noun: str, ending: str) -> str:
    """The noun with 이다 and an ending: 책이었다, 나무였다, 책이에요, 나무예요, 나무입니다, 책인."""
    if noun.endswith("'"):
        core = noun.rstrip("'")
        return noun + copula(core, ending)[len(core) :]
    opened = not final_of(noun)
    special = (_COPULA_OPEN if opened else _COPULA_CLOSED).get(ending)
    if special:
        return noun + special
    if ending.startswith("았"):
        rest = ending[1:]
        return noun + ("였" if opened else "이었") + rest
    if ending in ("라서", "라고", "라는", "라도", "면", "지만", "자", "니까", "지요", "죠", "네요", "든"):
        return noun + ("" if opened else "이") + ending
    if ending == "는군요":
        return noun + ("" if opened else "이") + "군요"
    return noun + conjugate(Predicate("이다", adjective=True), ending)


def style_ending(code: str, style: str) -> str:
    """The ending for a code of FINAL_ENDINGS in a register; any other ending is given back as it is."""
    return FINAL_ENDINGS[style].get(code, code)
