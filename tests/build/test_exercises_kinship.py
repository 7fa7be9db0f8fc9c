"""Kinship terms derived from a simulated family tree: who begot whom, who wed whom, who is older."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice

import pytest

from dokja.build.exercises import Exercise, exercises
from dokja.build.exercises.kinship import EASY_RULES, HARD_RULES, INVERSE_RULES, SPOKEN_BY
from dokja.build.exercises.words import MEN, WOMEN

OTHER = {"남": "여", "여": "남"}


@dataclass(eq=False)
class Person:
    sex: str
    born: int = 0
    parents: list[Person] = field(default_factory=list)
    children: list[Person] = field(default_factory=list)
    spouse: Person | None = None

    def parent(self, sex: str) -> Person:
        if not self.parents:
            father, mother = Person("남", self.born - 300), Person("여", self.born - 300)
            father.spouse, mother.spouse = mother, father
            self.parents = [father, mother]
            father.children = mother.children = [self]
        return self.parents["남여".index(sex)]

    def sibling(self, sex: str, older: bool) -> Person:
        self.parent("남")
        person = Person(sex, self.born + (-10 if older else 10), self.parents)
        self.parents[0].children.append(person)
        return person

    def wed(self) -> Person:
        if self.spouse is None:
            self.spouse = Person(OTHER[self.sex], self.born, spouse=self)
            self.spouse.children = self.children
        return self.spouse

    def child(self, sex: str) -> Person:
        person = Person(sex, self.born + 300)
        person.parents = [self, self.wed()] if self.sex == "남" else [self.wed(), self]
        self.children.append(person)
        return person

    def siblings(self) -> list[Person]:
        return [child for child in (self.parents[0].children if self.parents else []) if child is not self]


STEPS = {
    "아버지": lambda p: p.parent("남"),
    "어머니": lambda p: p.parent("여"),
    "아들": lambda p: p.child("남"),
    "딸": lambda p: p.child("여"),
    "형": lambda p: p.sibling("남", older=True),
    "오빠": lambda p: p.sibling("남", older=True),
    "누나": lambda p: p.sibling("여", older=True),
    "언니": lambda p: p.sibling("여", older=True),
    "남동생": lambda p: p.sibling("남", older=False),
    "여동생": lambda p: p.sibling("여", older=False),
    "아내": lambda p: p.wed(),
    "남편": lambda p: p.wed(),
}
# Other relatives as paths of those steps; more than one where a word covers several.
PATHS = {
    "할아버지": ["아버지 아버지"],
    "할머니": ["아버지 어머니"],
    "외할아버지": ["어머니 아버지"],
    "외할머니": ["어머니 어머니"],
    "고모": ["아버지 누나", "아버지 여동생"],
    "이모": ["어머니 언니", "어머니 여동생"],
    "외삼촌": ["어머니 오빠", "어머니 남동생"],
    "큰아버지": ["아버지 형"],
    "작은아버지": ["아버지 남동생"],
    "삼촌": ["아버지 남동생"],
    "손자": ["아들 아들"],
    "손녀": ["아들 딸"],
    "외손자": ["딸 아들"],
    "외손녀": ["딸 딸"],
    "며느리": ["아들 아내"],
    "사위": ["딸 남편"],
    "장인": ["아내 아버지"],
    "장모": ["아내 어머니"],
    "시아버지": ["남편 아버지"],
    "시어머니": ["남편 어머니"],
    "처형": ["아내 언니"],
    "처제": ["아내 여동생"],
    "형수": ["형 아내"],
    "매형": ["누나 남편"],
    "형부": ["언니 남편"],
    "제부": ["여동생 남편"],
    "올케": ["오빠 아내", "남동생 아내"],
    "시누이": ["남편 누나", "남편 여동생"],
    "시동생": ["남편 남동생"],
    "아주버니": ["남편 형"],
}


def paths(relative: str) -> list[list[str]]:
    return [path.split() for path in PATHS.get(relative, [relative])]


def walk(person: Person, path: list[str]) -> Person:
    for step in path:
        person = STEPS[step](person)
    return person


def by_sex(person: Person, man: str, woman: str) -> str:
    return man if person.sex == "남" else woman


def term(ego: Person, other: Person) -> str:
    """What `other` is to `ego`, by their places in the tree."""
    if other in ego.parents:
        return by_sex(other, "아버지", "어머니")
    if other in ego.children:
        return by_sex(other, "아들", "딸")
    if other is ego.spouse:
        return by_sex(other, "남편", "아내")
    if other in ego.siblings():
        if other.born > ego.born:
            return by_sex(other, "남동생", "여동생")
        return by_sex(ego, by_sex(other, "형", "누나"), by_sex(other, "오빠", "언니"))
    for child in ego.children:
        outer = by_sex(child, "", "외")
        if other in child.children:
            return outer + by_sex(other, "손자", "손녀")
        if other is child.spouse:
            return by_sex(other, "사위", "며느리")
    for parent in ego.parents:
        side = by_sex(parent, "", "외")
        if other in parent.parents:
            return side + by_sex(other, "할아버지", "할머니")
        for aunt in parent.siblings():
            uncle = "외삼촌" if side else "큰아버지" if aunt.born < parent.born else "삼촌"
            if other is aunt:
                return by_sex(aunt, uncle, "이모" if side else "고모")
            if other is aunt.spouse:
                wives = {"외삼촌": "외숙모", "큰아버지": "큰어머니", "삼촌": "작은어머니"}
                return by_sex(other, "이모부" if side else "고모부", wives[uncle])
            if other in aunt.children:
                return "사촌"
        for grandparent in parent.parents:
            if parent.sex == grandparent.sex == "남" and other in grandparent.parents:
                return by_sex(other, "증조할아버지", "증조할머니")
    for sibling in ego.siblings():
        older = sibling.born < ego.born
        if other in sibling.children:
            return "조카"
        if other is sibling.spouse:
            if sibling.sex == "남":
                return by_sex(ego, "형수" if older else "제수", "올케")
            return by_sex(ego, "매형" if older else "매제", "형부" if older else "제부")
    spouse = ego.spouse
    assert spouse is not None, "not related"
    if other in spouse.parents:
        return by_sex(ego, by_sex(other, "장인", "장모"), by_sex(other, "시아버지", "시어머니"))
    if other in spouse.siblings():
        older = other.born < spouse.born
        if spouse.sex == "여":
            return by_sex(other, "처남", "처형" if older else "처제")
        return by_sex(other, "아주버니" if older else "시동생", "시누이")
    raise AssertionError("not related")


def speakers(sex: str, relative: str) -> list[Person]:
    fixed = sex or SPOKEN_BY.get(relative, "")
    return [Person(fixed)] if fixed else [Person("남"), Person("여")]


@pytest.mark.parametrize("rule", EASY_RULES + HARD_RULES, ids=lambda rule: "".join(rule[:3]))
def test_composed_relations_by_the_tree(rule: tuple[str, str, str, str, tuple[str, ...]]) -> None:
    sex, first, second, right, also = rule
    for path in paths(first):
        for ego in speakers(sex, first):
            middle = walk(ego, path)
            other = STEPS[second](middle)
            assert other is not ego
            assert term(ego, other) == right
    assert right not in also


@pytest.mark.parametrize("rule", INVERSE_RULES, ids=lambda rule: "".join(rule[:2]))
def test_inverse_relations_by_the_tree(rule: tuple[str, str, str, str, tuple[str, ...]]) -> None:
    sex, relative, _, right, _ = rule
    for path in paths(relative):
        for ego in speakers(sex, relative):
            assert term(walk(ego, path), ego) == right


def test_a_speaker_is_never_asked_for_a_term_the_other_sex_uses() -> None:
    for sex, first, _, _, _ in EASY_RULES + HARD_RULES + INVERSE_RULES:
        assert sex in ("", SPOKEN_BY.get(first, sex))


def drawn(count: int = 6000) -> list[Exercise]:
    return list(islice(exercises("kinship", "train", 31), count))


NAME = f"(?P<{{}}>{'|'.join(MEN + WOMEN)})"
FACTS = tuple(
    re.compile(pattern.format(a=NAME.format("a"), b=NAME.format("b")))
    for pattern in (
        r"{a}의 (?P<r>\w+?)[은는] {b}(?=[,입])",
        r"{b}[은는] {a}의 (?P<r>\w+?)(?=이고|입니다|,)",
        r"{a}의 (?P<r>\w+) {b}(?=[은는])",
    )
)


def test_questions_tell_what_the_tree_needs_and_no_other_relation() -> None:
    """The relations are read back from the text; the tree is built from those alone."""
    forms = set()
    for item in drawn():
        forms.add(item.form)
        if item.form not in ("one step", "two steps"):
            continue
        facts = {
            (found["a"], found["r"], found["b"])
            for pattern in FACTS
            for found in pattern.finditer(item.prompt)
            if found["r"] in STEPS or found["r"] in PATHS
        }
        told = {
            name: "남" if word == "남자" else "여" for name, word in re.findall(r"(\S+)[은는] (남자|여자)", item.prompt)
        }
        sex_of = dict.fromkeys(MEN, "남") | dict.fromkeys(WOMEN, "여")
        assert all(sex_of[name] == sex for name, sex in told.items())
        asked = re.findall(r"(\S+)에게", item.prompt)[-1]
        question = item.prompt[item.prompt.rindex(". ") + 2 :]
        (other,) = {name for name in re.findall("|".join(MEN + WOMEN), question) if name != asked} - {
            a for a, r, b in facts if item.form == "two steps" and any(a == d for _, _, d in facts)
        }
        assert len(facts) == (1 if item.form == "one step" else 2), item.prompt
        starts = {a for a, _, _ in facts} - {b for _, _, b in facts}
        (start,) = starts
        by_start = {a: (r, b) for a, r, b in facts}
        people = {start: Person(sex_of[start])}
        current = start
        while current in by_start:
            relative, following = by_start[current]
            people[following] = walk(people[current], paths(relative)[0])
            assert people[following].sex == sex_of[following]
            current = following
        assert term(people[asked], people[other]) == item.answer, item.prompt
        needs_sex = item.form == "two steps" and item.answer in ("제수", "매제", "제부")
        assert not needs_sex or asked in told
    assert forms == {"one step", "two steps", "term", "name", "relative", "drill"}


def test_drills_hold_for_the_person_named() -> None:
    terms = set()
    for item in drawn():
        if item.form == "drill":
            name, first, second = item.prompt.replace("의 ", " ").split()
            ego = Person("남" if name in MEN else "여")
            middle = walk(ego, paths(first)[0])
            assert term(ego, STEPS[second](middle)) == item.answer, item.prompt
            assert SPOKEN_BY.get(first, ego.sex) == ego.sex
            terms.add(item.answer)
    assert len(terms) > 40


def test_looking_up_a_relative() -> None:
    for item in drawn():
        if item.form in ("name", "relative"):
            told, question = item.prompt.split(". ")
            pairs = dict(re.findall(r"(\w+)[은는] (\w+?)(?=,|입니다|$)", told.split("의 ", 1)[1]))
            assert len(pairs) in (2, 3)
            if item.form == "name":
                (relative,) = [r for r in pairs if re.search(rf"의 {r}(은|는|입| 이름)", question)]
                assert item.answer == pairs[relative]
            else:
                (relative,) = [r for r, name in pairs.items() if name in question]
                assert item.answer == relative
