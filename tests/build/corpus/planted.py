"""Truth that is planted: clean prose, junk of many kinds, near-duplicates and their hard negatives."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dokja.build import korean

HERE = Path(__file__).parent


def paragraphs() -> list[tuple[str, str]]:
    """(register, text) of the hand-written clean prose."""
    parts = re.split(r"^# (.+)\n", (HERE / "clean_prose.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [(register, text.strip()) for register, text in zip(parts[::2], parts[1::2], strict=True)]


def prose(seed: int, count: int, characters: int = 600) -> list[str]:
    """Texts of the project's own Korean generator, about so long."""
    texts: list[str] = []
    held = ""
    for document in korean.documents(seed):
        if document.turns:
            continue
        held = f"{held}\n\n{document.text}" if held else document.text
        if len(held) >= characters:
            texts.append(held)
            held = ""
            if len(texts) == count:
                break
    return texts


def junk(rng: random.Random) -> Iterator[tuple[str, str]]:
    """(what it is, text) of pages that no model should read."""
    clean = [text for _, text in paragraphs()]
    sample = rng.choice(clean)
    yield "UTF-8 read as Latin-1", sample.encode().decode("latin-1")
    yield "UTF-8 read as Windows-1252", sample.encode().decode("cp1252", "replace")
    yield "UTF-8 read as CP949", sample.encode().decode("cp949", "replace")
    yield "CP949 read as Latin-1", sample.encode("cp949", "replace").decode("latin-1")
    yield "CP949 read as UTF-8", sample.encode("cp949", "replace").decode("utf-8", "replace")
    yield "letters one by one", " ".join(rng.choices("ㄱㄴㄷㄹㅁㅂㅅㅏㅓㅗㅜㅡㅣ", k=300))
    yield "broken syllables", "".join(rng.choices("\u1100\u1102\u1103\u1161\u1165\u11a8\u11ab", k=300))
    yield "laughter", "ㅋㅋㅋㅋ ㅎㅎㅎ ㅠㅠ " * 40
    cities, things = (
        ("강남", "홍대", "부산", "대구", "수원", "인천", "분당", "일산"),
        ("맛집", "카페", "미용실", "학원", "원룸", "대출", "꽃집"),
    )
    yield "keywords", " ".join(rng.choice(cities) + rng.choice(things) for _ in range(120))
    yield "comma keywords", ", ".join(f"{rng.choice(cities)} {rng.choice(things)} 추천" for _ in range(80))
    yield "one line again and again", f"{rng.choice(cities)} 최저가 보장 지금 바로 상담하세요!\n" * 30
    yield "one phrase again and again", "무료 상담 신청은 지금 바로 " * 60
    yield "one sentence again and again", "저희 업체는 언제나 친절하게 모시겠습니다. " * 40
    yield "few paragraphs again and again", "\n".join([rng.choice(clean), rng.choice(clean)] * 6)
    yield (
        "menu",
        "\n".join(
            [
                "홈",
                "로그인",
                "회원가입",
                "장바구니",
                "주문조회",
                "마이페이지",
                "고객센터",
                "이용약관",
                "개인정보처리방침",
                "이전글",
                "다음글",
                "목록으로",
                "맨위로",
                "댓글쓰기",
                "Copyright 2024 All rights reserved",
            ]
            * 2
        ),
    )
    yield (
        "footer",
        "\n".join(
            [
                "이용약관",
                "개인정보 처리방침",
                "사이트맵 바로가기",
                "무단전재 및 재배포 금지",
                "더보기",
                "공유하기",
                "로그인",
                "최신 기사 더보기",
                "댓글 12",
                "조회수 345",
                "추천 3",
                "스크랩",
                "인쇄하기",
                "구독하기",
            ]
        ),
    )
    yield (
        "filler text",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt. " * 8,
    )
    yield (
        "filler and Korean",
        "회사 소개\n" + "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod. " * 5,
    )
    yield "figures", "\n".join(" ".join(str(rng.randint(0, 99999)) for _ in range(8)) for _ in range(40))
    yield (
        "price list",
        "\n".join(
            f"상품{n} {rng.randint(1, 99)},{rng.randint(0, 999):03d}원 {rng.randint(1000000, 9999999)}"
            for n in range(60)
        ),
    )
    yield (
        "telephone spam",
        "\n".join(
            f"상담 0{rng.randint(10, 99)}-{rng.randint(1000, 9999)}-{rng.randint(1000, 9999)} 24시" for _ in range(30)
        ),
    )
    yield "links", "\n".join(f"https://example{n}.com/a/b?id={rng.randint(1, 10**6)} 클릭" for n in range(30))
    yield "symbols", "".join(rng.choices("★☆◆◇■□▶◀♥♡※→←↑↓", k=300)) + " 이벤트 진행중 선착순 모집 지금 신청"
    yield "dashes", "-----=====+++++|||||\n" * 30 + "표 끝"
    yield "too short", "확인했습니다."
    yield "empty", " \n\n \t"
    yield (
        "name list",
        "\n".join(rng.choice("김이박최정") + rng.choice(("민준", "서연", "도윤", "하은", "현우")) for _ in range(120)),
    )
    yield (
        "product list",
        "\n".join(
            f"{rng.choice(('남성', '여성'))} {rng.choice(('면', '울', '린넨'))} {rng.choice(('셔츠', '바지'))} {n}호"
            for n in range(60)
        ),
    )
    yield "tags", " ".join(f"#{rng.choice(cities)}{rng.choice(things)}" for _ in range(100))
    yield "private use", "".join(chr(0xE000 + rng.randint(0, 500)) if rng.random() < 0.2 else char for char in sample)


def fixtures(seed: int, rounds: int = 4) -> list[tuple[str, str]]:
    """The junk, drawn several times."""
    rng = random.Random(seed)
    return [case for _ in range(rounds) for case in junk(rng)]


# ---- near-duplicates


class Planted(NamedTuple):
    """documents by key; copies: of each key that repeats an earlier document, how it was made."""

    documents: dict[int, str]
    copies: dict[int, tuple[int, str]]


def edited(rng: random.Random, text: str, share: float, vocabulary: list[str]) -> str:
    """A share of the eojeol replaced (three of five), left out or doubled by another (one of five each)."""
    parts = re.split(r"(\s+)", text)
    for place in range(0, len(parts), 2):
        if rng.random() < share:
            lot = rng.random()
            other = rng.choice(vocabulary)
            parts[place] = other if lot < 0.6 else "" if lot < 0.8 else f"{parts[place]} {other}"
    return "".join(parts)


def reordered(rng: random.Random, text: str) -> str:
    sentences = re.split(r"(?<=[.!?])\s+|\n+", text)
    rng.shuffle(sentences)
    return "\n".join(sentences)


def framed(rng: random.Random, text: str, vocabulary: list[str]) -> str:
    size = len(text.split())
    header, footer = (
        " ".join(rng.choices(vocabulary, k=max(3, int(size * rng.uniform(0.02, 0.12))))) for _ in range(2)
    )
    return f"{header}\n\n{text}\n\n{footer}"


def truncated(rng: random.Random, text: str) -> str:
    return text[: int(len(text) * rng.uniform(0.6, 0.95))]


def near_duplicates(seed: int, originals: list[str], templates: list[str]) -> Planted:
    """Each original, one to three copies of it made in the ways that the web makes them, and documents that share a
    template; keys are drawn so that a copy may come before its original."""
    rng = random.Random(seed)
    vocabulary = [word for text in originals for word in text.split()]
    made: list[tuple[str, int, str]] = [(text, index, "") for index, text in enumerate(originals)]
    for index, text in enumerate(originals):
        for _ in range(rng.randint(0, 3)):
            lot = rng.randrange(8)
            if lot < 4:
                share = rng.uniform(0.01, 0.2)
                made.append((edited(rng, text, share, vocabulary), index, f"edited {5 * int(share * 20 - 1e-9) + 5} %"))
            elif lot == 4:
                made.append((reordered(rng, text), index, "reordered"))
            elif lot == 5:
                made.append((framed(rng, text, vocabulary), index, "framed"))
            elif lot == 6:
                made.append((truncated(rng, text), index, "truncated"))
            else:
                made.append((text.replace(" ", "  ").replace(".", ". "), index, "spaced"))
    made += [(text, -1 - number, "") for number, text in enumerate(templates)]
    rng.shuffle(made)
    first: dict[int, int] = {}
    documents: dict[int, str] = {}
    copies: dict[int, tuple[int, str]] = {}
    for key, (text, cluster, how) in enumerate(made):
        documents[key] = text
        if cluster in first:
            copies[key] = (first[cluster], how or "the original, later")
        else:
            first[cluster] = key
    return Planted(documents, copies)


def rules(seed: int, count: int) -> list[str]:
    """Rules of many villages from one template: much in common, and yet different documents."""
    rng = random.Random(seed)
    texts = prose(seed + 1, count, 500)
    subjects = (
        "도서관",
        "체육관",
        "공동 우물",
        "농기계",
        "마을 회관",
        "주차장",
        "텃밭",
        "장학금",
        "어린이 놀이터",
        "수영장",
        "공방",
        "목욕탕",
    )
    frame = (
        "제1조(목적) 이 규칙은 {a}의 {b} 관리와 이용에 필요한 사항을 정함을 목적으로 한다.\n"
        "제2조(정의) 이 규칙에서 사용하는 용어의 뜻은 다음과 같다.\n{c}\n"
        "제3조(위원회) 위원회는 위원장 1명을 포함하여 {n}명 이내의 위원으로 구성한다.\n"
        "제4조(이용) {d}\n제5조(시행) 이 규칙은 공포한 날부터 시행한다."
    )
    return [
        frame.format(
            a=f"{rng.choice('동서남북')}{index}리",
            b=rng.choice(subjects),
            c=text[:260],
            n=rng.randint(5, 20),
            d=text[260:520],
        )
        for index, text in enumerate(texts)
    ]


def jaccard(one: str, other: str) -> float:
    """The true similarity of two texts in pairs of words."""
    sets = []
    for text in (one, other):
        found = re.findall(r"[^\W_]+", text.casefold())
        sets.append(set(itertools.pairwise(found)))
    return len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1]))
