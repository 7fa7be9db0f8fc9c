"""Particles that agree with the word before them: 책은, 의자는, 서울로."""

from __future__ import annotations

from random import Random

from dokja.build.hangul import particle

from .core import Exercise
from .words import GIVEN_WITH_FINAL, GIVEN_WITHOUT_FINAL, NOUNS_WITH_FINAL, NOUNS_WITHOUT_FINAL, PLACES, SURNAMES

PAIRS = ("은/는", "이/가", "을/를", "과/와", "으로/로", "이에요/예요")
VOCATIVE = "아/야"

_CHOOSE = (
    "알맞은 것을 고르세요: {w}({a}/{b})",
    "'{w}' 뒤에 맞는 것은 '{a}'입니까, '{b}'입니까?",
    "{w}( ) 빈칸에 알맞은 것은? {a}, {b}",
    "'{w}' 다음에 와야 하는 말은? {a}, {b}",
)
_ATTACH = (
    "'{w}'에 '{a}/{b}'{of} 알맞게 붙여 쓰세요.",
    "'{w}' 뒤에 '{a}/{b}' 가운데 맞는 것을 붙여 쓰세요.",
    "{w} + {a}/{b} = ?",
)
_COMPLETE = (
    "괄호에서 골라 문장을 쓰세요: {s}",
    "맞는 말만 남기고 쓰세요: {s}",
    "알맞은 말로 문장을 완성하세요: {s}",
)
# Sentences that fit any concrete noun, any person, any number: the word is the whole problem.
_SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "noun": {
        "은/는": ("{x} 어디에 있습니까?", "{x} 여기에 없습니다."),
        "이/가": ("저기 {x} 있다.", "그림에 {x} 없다."),
        "을/를": ("나는 {x} 보았다.", "동생이 {x} 그렸다."),
        "과/와": ("그림에 {x} 내가 있다.", "{x} 비슷한 것을 찾았다."),
        "으로/로": ("답을 {x} 적었다.", "그림 제목을 {x} 정했다."),
        "이에요/예요": ("답은 {x}.", "여기 그린 것은 {x}."),
    },
    "name": {
        "은/는": ("{x} 학생입니다.", "{x} 어디에 삽니까?"),
        "이/가": ("{x} 왔습니다.", "{x} 웃었다."),
        "을/를": ("나는 {x} 만났다.", "친구가 {x} 불렀다."),
        "과/와": ("나는 {x} 놀았다.", "{x} 함께 갔다."),
        "으로/로": ("반장은 {x} 정했다.", "답을 {x} 적었다."),
        "이에요/예요": ("제 이름은 {x}.", "내 짝은 {x}."),
        "아/야": ("{x}, 이리 와.", "{x}, 같이 가자."),
    },
    "number": {
        "은/는": ("{x} 내가 고른 수이다.", "{x} 답이 아닙니다."),
        "이/가": ("답은 {x} 아니다.", "칠판에 {x} 적혀 있다."),
        "을/를": ("나는 {x} 골랐다.", "공책에 {x} 썼다."),
        "과/와": ("{x} 1을 더했다.", "답은 {x} 같다."),
        "으로/로": ("답을 {x} 고쳤다.", "답을 {x} 적었다."),
        "이에요/예요": ("답은 {x}.", "제가 고른 수는 {x}."),
    },
}

_PLACES_BY_FORM = {
    form: tuple(place for place in PLACES if particle(place, "으로/로") == form) for form in ("으로", "로")
}
_RIEUL = tuple(noun for noun in NOUNS_WITH_FINAL if particle(noun, "으로/로") == "로")
# Short nouns for the drills, by how they end.
_SHORT = {
    closed: tuple(noun for noun in nouns if len(noun) <= 2)
    for closed, nouns in ((True, NOUNS_WITH_FINAL), (False, NOUNS_WITHOUT_FINAL))
}
_NOT_RIEUL = tuple(noun for noun in NOUNS_WITH_FINAL if particle(noun, "으로/로") == "으로")


def _word(rng: Random, kind: str, pair: str, form: str, closed: bool) -> str:
    """A word after which `pair` takes `form`: the two forms are equally likely, so always saying one earns half."""
    if kind == "noun":
        if pair == "으로/로":
            # Words in ㄹ are the rule's one trap; they are half of the open form here.
            return rng.choice(_NOT_RIEUL if closed else _RIEUL if rng.random() < 0.5 else NOUNS_WITHOUT_FINAL)
        return rng.choice(NOUNS_WITH_FINAL if closed else NOUNS_WITHOUT_FINAL)
    while True:
        if kind == "number":
            word = str(rng.randrange(1, 1000))
        else:
            given = rng.choice(GIVEN_WITH_FINAL if rng.random() < 0.5 else GIVEN_WITHOUT_FINAL)
            word = given if pair == VOCATIVE else rng.choice(SURNAMES) + given
        if particle(word, pair) == form:
            return word


def make(rng: Random) -> Exercise:
    """Choose a particle, attach it, or complete a sentence with it, after a noun, a person's name or a number."""
    draw = rng.random()
    kind, level = ("noun", 1) if draw < 0.5 else ("name", 2) if draw < 0.8 else ("number", 3)
    pair = VOCATIVE if kind == "name" and rng.random() < 0.1 else rng.choice(PAIRS)
    a, b = pair.split("/")
    closed = rng.random() < 0.5
    right = a if closed else b
    going = kind == "noun" and pair == "으로/로" and rng.random() < 0.4
    word = rng.choice(_PLACES_BY_FORM[right]) if going else _word(rng, kind, pair, right, closed)
    key = f"particles:{word}:{pair}"
    draw = rng.random()
    if draw < 0.5:
        offered = (a, b) if rng.random() < 0.5 else (b, a)
        prompt = rng.choice(_CHOOSE).format(w=word, a=offered[0], b=offered[1])
        return Exercise("particles", prompt, right, key, "choose", level, offered)
    if draw < 0.8:
        prompt = rng.choice(_ATTACH).format(w=word, a=a, b=b, of=particle(b, "을/를"))
        return Exercise("particles", prompt, word + right, key, "attach", level, (word + a, word + b))
    sentence = "우리는 {x} 갔다." if going else rng.choice(_SENTENCES[kind][pair])
    prompt = rng.choice(_COMPLETE).format(s=sentence.format(x=f"{word}({a}/{b})"))
    choices = (sentence.format(x=word + a), sentence.format(x=word + b))
    return Exercise("particles", prompt, choices[0] if closed else choices[1], key, "complete", level, choices)


def drill(rng: Random) -> Exercise:
    """책+은/는 -> 은: after a short noun, a number below a hundred or a name."""
    pair = rng.choice(PAIRS[:5])
    a, b = pair.split("/")
    closed = rng.random() < 0.5
    right = a if closed else b
    draw = rng.random()
    if draw < 0.9:
        while True:
            word = rng.choice(_SHORT[rng.random() < 0.5]) if draw < 0.55 else str(rng.randrange(1, 100))
            if particle(word, pair) == right:
                break
    else:
        word = _word(rng, "name", pair, right, closed)
    key, level = f"particles:{word}:{pair}", 1 if draw < 0.9 else 2
    return Exercise("particles", f"{word}+{pair}", right, key, "drill", level, (a, b))
