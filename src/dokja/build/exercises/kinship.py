"""Kinship: what someone is called who is the mother of one's father, or whose elder sister one is.

Terms are those by which one speaks of a relative (지칭어) in the Standard Korean Dictionary. Where a general word
covers an exact one (할머니 for 외할머니), only the exact word is right: telling them apart is the exercise.
"""

from __future__ import annotations

from random import Random

from dokja.build.hangul import particle

from .core import Exercise
from .words import MEN, WOMEN

# Whose sex a term fixes for the one who uses it: a man has a 형 and a woman an 오빠.
_SAID_BY_MEN = "형 누나 아내 장인 장모 처형 처제 처남 형수 매형 매제 제수"
_SAID_BY_WOMEN = "오빠 언니 남편 시아버지 시어머니 아주버니 시동생 시누이 형부 제부 올케"
SPOKEN_BY = dict.fromkeys(_SAID_BY_MEN.split(), "남") | dict.fromkeys(_SAID_BY_WOMEN.split(), "여")
# The sex of the one whom a term names.
_FEMALE_TERMS = """
어머니 딸 누나 언니 여동생 아내 할머니 외할머니 고모 이모 손녀 외손녀 며느리 형수 올케 제수 장모 처형 처제
시어머니 시누이 외숙모 큰어머니 작은어머니 숙모 증조할머니
"""
_FEMALE = frozenset(_FEMALE_TERMS.split())

# One line a rule: the speaker's sex where it matters (남, 여 or -), the relative, the relative's relative, the term
# for that person, and after a bar the words that are just as right.
_EASY = """
- 아버지 아버지 할아버지|친할아버지|조부
- 아버지 어머니 할머니|친할머니|조모
- 어머니 아버지 외할아버지|외조부
- 어머니 어머니 외할머니|외조모
- 아버지 누나 고모
- 아버지 여동생 고모
- 어머니 언니 이모
- 어머니 여동생 이모
- 아버지 형 큰아버지|백부
- 아버지 남동생 삼촌|작은아버지|숙부|친삼촌
- 어머니 오빠 외삼촌|외숙부|외숙
- 어머니 남동생 외삼촌|외숙부|외숙
- 아들 아들 손자|친손자
- 아들 딸 손녀|친손녀
- 딸 아들 외손자
- 딸 딸 외손녀
- 아들 아내 며느리
- 딸 남편 사위
- 형 형 형
- 형 누나 누나
- 누나 오빠 형
- 누나 언니 누나
- 오빠 형 오빠
- 오빠 누나 언니
- 언니 오빠 오빠
- 언니 언니 언니
- 남동생 남동생 남동생
- 남동생 여동생 여동생
- 여동생 남동생 남동생
- 여동생 여동생 여동생
- 형 아버지 아버지|아빠
- 누나 어머니 어머니|엄마
- 오빠 아버지 아버지|아빠
- 언니 어머니 어머니|엄마
- 남동생 아버지 아버지|아빠
- 여동생 어머니 어머니|엄마
- 할머니 남편 할아버지|친할아버지|조부
- 할아버지 아내 할머니|친할머니|조모
- 외할머니 남편 외할아버지|외조부
- 외할아버지 아내 외할머니|외조모
- 고모 아버지 할아버지|친할아버지|조부
- 고모 어머니 할머니|친할머니|조모
- 이모 아버지 외할아버지|외조부
- 이모 어머니 외할머니|외조모
- 외삼촌 아버지 외할아버지|외조부
- 외삼촌 어머니 외할머니|외조모
- 큰아버지 어머니 할머니|친할머니|조모
- 큰아버지 아버지 할아버지|친할아버지|조부
"""
_HARD = """
- 형 아들 조카
- 누나 딸 조카|조카딸
- 오빠 딸 조카|조카딸
- 언니 아들 조카
- 남동생 아들 조카
- 여동생 딸 조카|조카딸
- 고모 남편 고모부|고숙
- 이모 남편 이모부|이숙
- 외삼촌 아내 외숙모
- 큰아버지 아내 큰어머니|백모
- 작은아버지 아내 작은어머니|숙모
- 고모 아들 사촌|고종사촌|고종
- 고모 딸 사촌|고종사촌|고종
- 이모 아들 사촌|이종사촌|이종
- 이모 딸 사촌|이종사촌|이종
- 외삼촌 아들 사촌|외사촌|외종사촌
- 외삼촌 딸 사촌|외사촌|외종사촌
- 큰아버지 아들 사촌|친사촌
- 큰아버지 딸 사촌|친사촌
- 할아버지 아버지 증조할아버지|증조부
- 할아버지 어머니 증조할머니|증조모
- 형 아내 형수
- 누나 남편 매형|자형|매부
- 오빠 아내 올케|새언니
- 언니 남편 형부
남 남동생 아내 제수|제수씨|계수
여 남동생 아내 올케
남 여동생 남편 매제|매부
여 여동생 남편 제부
- 아내 아버지 장인|장인어른
- 아내 어머니 장모|장모님
- 아내 언니 처형
- 아내 여동생 처제
- 아내 오빠 처남|형님
- 아내 남동생 처남
- 남편 아버지 시아버지
- 남편 어머니 시어머니
- 남편 형 아주버니|시아주버니|아주버님|시숙
- 남편 남동생 시동생|도련님|서방님
- 남편 누나 시누이|시누|형님
- 남편 여동생 시누이|시누|아가씨
"""
# What B is to A when A is B's relative: B's sex (남, 여 or -), A's term, B's term.
_INVERSE = """
남 아버지 아들
여 아버지 딸
남 어머니 아들
여 어머니 딸
남 아들 아버지|아빠
여 아들 어머니|엄마
남 딸 아버지|아빠
여 딸 어머니|엄마
남 형 남동생
남 누나 남동생
여 오빠 여동생
여 언니 여동생
남 남동생 형
여 남동생 누나
남 여동생 오빠
여 여동생 언니
남 아내 남편
여 남편 아내|부인
남 할아버지 손자|친손자
여 할아버지 손녀|친손녀
남 할머니 손자|친손자
여 할머니 손녀|친손녀
남 외할아버지 외손자
여 외할아버지 외손녀
남 외할머니 외손자
여 외할머니 외손녀
남 손자 할아버지|친할아버지|조부
여 손자 할머니|친할머니|조모
남 손녀 할아버지|친할아버지|조부
여 손녀 할머니|친할머니|조모
남 외손자 외할아버지|외조부
여 외손녀 외할머니|외조모
- 고모 조카
- 이모 조카
- 삼촌 조카
- 외삼촌 조카
- 큰아버지 조카
"""
_INVERSE_IN_LAW = """
남 장인 사위
남 장모 사위
여 시아버지 며느리
여 시어머니 며느리
남 며느리 시아버지
여 며느리 시어머니
남 사위 장인|장인어른
여 사위 장모|장모님
여 형부 처제
남 매형 처남
남 형수 시동생|도련님|서방님
남 처형 제부
남 처제 형부
여 시누이 올케
여 올케 시누이|시누
여 시동생 형수
여 아주버니 제수|제수씨|계수
여 제부 처형
"""

_TWO = (
    "{e}의 {r1}{r1_topic} {m}, {m}의 {r2}{r2_topic} {f}입니다. {f}{f_topic} {e}에게 누구입니까?",
    "{m}{m_topic} {e}의 {r1}이고, {f}{f_topic} {m}의 {r2}입니다. {f}{f_topic} {e}에게 누구입니까?",
    "{f}{f_topic} {m}의 {r2}, {m}{m_topic} {e}의 {r1}입니다. {e}에게 {f}{f_topic} 누구입니까?",
    "{e}의 {r1}{r1_topic} {m}입니다. {m}의 {r2} {f}{f_topic} {e}에게 누구입니까?",
)
_ONE = (
    "{a}{a_topic} {b}의 {r}입니다. {b}{b_topic} {a}에게 누구입니까?",
    "{b}의 {r}{r_topic} {a}입니다. {b}{b_topic} {a}에게 누구입니까?",
    "{a}{a_topic} {b}의 {r}입니다. {a}에게 {b}{b_topic} 누구입니까?",
)
_TERM = (
    "{s}{r1}의 {r2}{r2_topic} 누구입니까?",
    "{s}{r1}의 {r2}{r2_of} 가리키는 말은?",
    "{s}{r1}의 {r2}{r2_of} 무엇이라고 합니까?",
)
_LOOK_UP = ("{e}의 {r}{r_topic} 누구입니까?", "{e}의 {r} 이름은?", "누가 {e}의 {r}입니까?")
_LOOK_UP_TERM = ("{n}{n_topic} {e}의 누구입니까?", "{e}에게 {n}{n_topic} 누구입니까?")
# Relatives that one person may have all at once, by the person's sex.
_COMMON = "아버지 어머니 남동생 여동생 아들 딸 할아버지 할머니 고모 이모 삼촌"
_FAMILY = {"남": ("형", "누나", "아내", *_COMMON.split()), "여": ("오빠", "언니", "남편", *_COMMON.split())}

Rule = tuple[str, str, str, str, tuple[str, ...]]


def _parse(table: str) -> list[Rule]:
    """Rules as (speaker's sex, first relative, second relative or "", term, also right)."""
    rules: list[Rule] = []
    for line in table.split("\n"):
        if line:
            sex, *relatives, last = line.split()
            term, *also = last.split("|")
            first, second = relatives if len(relatives) == 2 else (relatives[0], "")
            rules.append(("" if sex == "-" else sex, first, second, term, tuple(also)))
    return rules


def _by_term(rules: list[Rule]) -> tuple[tuple[Rule, ...], ...]:
    """Rules grouped by their term: terms are drawn alike often, whatever the number of ways to reach them."""
    groups: dict[str, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(rule[3], []).append(rule)
    return tuple(map(tuple, groups.values()))


EASY_RULES, HARD_RULES = _parse(_EASY), _parse(_HARD)
INVERSE_RULES = _parse(_INVERSE) + _parse(_INVERSE_IN_LAW)
_EASY_TERMS, _HARD_TERMS = _by_term(EASY_RULES), _by_term(HARD_RULES)
_INVERSE_TERMS, _IN_LAW_TERMS = _by_term(_parse(_INVERSE)), _by_term(_parse(_INVERSE_IN_LAW))


def _name(rng: Random, sex: str, taken: tuple[str, ...] = ()) -> str:
    while True:
        name = rng.choice(WOMEN if sex == "여" else MEN)
        if name not in taken:
            return name


def _sex(term: str) -> str:
    return "여" if term in _FEMALE else "남"


def _topic(word: str) -> str:
    return particle(word, "은/는")


def _two(rng: Random) -> Exercise:
    hard = rng.random() < 0.35
    sex, first, second, term, also = rng.choice(rng.choice(_HARD_TERMS if hard else _EASY_TERMS))
    ego = _name(rng, sex or SPOKEN_BY.get(first) or ("남" if rng.random() < 0.5 else "여"))
    middle = _name(rng, _sex(first), (ego,))
    far = _name(rng, _sex(second), (ego, middle))
    wording = rng.choice(_TWO)
    if sex:
        # The term depends on the speaker's sex, which nothing else in the question tells.
        wording = f"{ego}{_topic(ego)} {'남자' if sex == '남' else '여자'}입니다. " + wording
    prompt = wording.format(
        e=ego, m=middle, f=far, r1=first, r2=second,
        r1_topic=_topic(first), r2_topic=_topic(second), m_topic=_topic(middle), f_topic=_topic(far),
    )  # fmt: skip
    key = f"kinship:two:{sex}{first}:{second}:{ego}:{middle}:{far}"
    return Exercise("kinship", prompt, term, key, "two steps", 3 if hard else 2, also=also)


def _one(rng: Random) -> Exercise:
    hard = rng.random() < 0.15
    sex, relative, _, term, also = rng.choice(rng.choice(_IN_LAW_TERMS if hard else _INVERSE_TERMS))
    b = _name(rng, sex or ("남" if rng.random() < 0.5 else "여"))
    a = _name(rng, _sex(relative), (b,))
    prompt = rng.choice(_ONE).format(
        a=a, b=b, r=relative, a_topic=_topic(a), b_topic=_topic(b), r_topic=_topic(relative)
    )
    if sex and relative not in SPOKEN_BY:
        prompt = f"{b}{_topic(b)} {'남자' if sex == '남' else '여자'}입니다. {prompt}"
    key = f"kinship:one:{sex}{relative}:{a}:{b}"
    return Exercise("kinship", prompt, term, key, "one step", 2 if hard else 1, also=also)


def _term(rng: Random) -> Exercise:
    sex, first, second, term, also = rng.choice(HARD_RULES if rng.random() < 0.4 else EASY_RULES)
    speaker = f"{'남자' if sex == '남' else '여자'}에게 " if sex else ""
    prompt = rng.choice(_TERM).format(
        s=speaker, r1=first, r2=second, r2_topic=_topic(second), r2_of=particle(second, "을/를")
    )
    return Exercise("kinship", prompt, term, f"kinship:term:{sex}{first}:{second}", "term", 2, also=also)


def _look_up(rng: Random) -> Exercise:
    """Who of two or three relatives named is the one asked for, or what the one named is."""
    sex = "남" if rng.random() < 0.5 else "여"
    ego = _name(rng, sex)
    relatives: list[str] = []
    while len(relatives) < (2 if rng.random() < 0.6 else 3):
        relative = rng.choice(_FAMILY[sex])
        if relative not in relatives:
            relatives.append(relative)
    names: list[str] = []
    for relative in relatives:
        names.append(_name(rng, _sex(relative), (ego, *names)))
    pairs = list(zip(relatives, names, strict=True))
    said = ", ".join(f"{relative}{_topic(relative)} {name}" for relative, name in pairs)
    place = rng.randrange(len(pairs))
    relative, name = pairs[place]
    listed = ":".join(f"{r}{n}" for r, n in sorted(pairs))
    if rng.random() < 0.6:
        asked = rng.choice(_LOOK_UP).format(e=ego, r=relative, r_topic=_topic(relative))
        answer, choices, form = name, tuple(names), "name"
    else:
        asked = rng.choice(_LOOK_UP_TERM).format(e=ego, n=name, n_topic=_topic(name))
        answer, choices, form = relative, tuple(relatives), "relative"
    key = f"kinship:{form}:{relative}:{ego}:{listed}"
    return Exercise("kinship", f"{ego}의 {said}입니다. {asked}", answer, key, form, 1, choices)


def make(rng: Random) -> Exercise:
    """Look a relative up, turn a relation round, compose two, or name the term for such a composition."""
    draw = rng.random()
    if draw < 0.22:
        return _look_up(rng)
    if draw < 0.52:
        return _one(rng)
    if draw < 0.95:
        return _two(rng)
    return _term(rng)


def drill(rng: Random) -> Exercise:
    """민수 아버지의 어머니 -> 할머니, for a relation that the words settle whoever it is said of."""
    hard = rng.random() < 0.15
    while True:
        sex, first, second, term, also = rng.choice(rng.choice(_HARD_TERMS if hard else _EASY_TERMS))
        if not sex:
            break
    ego = _name(rng, SPOKEN_BY.get(first) or ("남" if rng.random() < 0.5 else "여"))
    key = f"kinship:two:{first}:{second}:{ego}"
    return Exercise("kinship", f"{ego} {first}의 {second}", term, key, "drill", 2 if hard else 1, also=also)
