"""Quality rules: clean Korean prose stays, junk goes, each by a reason that can be counted."""

from __future__ import annotations

import dataclasses
import json
import lzma
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import fixtures, paragraphs, prose

from dokja.build.corpus.quality import QualityConfig, reason

CONFIG = QualityConfig()
SHARED = Path(__file__).parents[3].parent / "shared"


def test_clean_prose_of_every_register_is_kept() -> None:
    """The bar is 95 %; verse, dialogue, statutes and text full of Latin terms are the ones that rules go wrong on."""
    texts = [*paragraphs(), *(("generator", text) for text in prose(3, 400, 400))]
    dropped = [(register, why) for register, text in texts if (why := reason(text, CONFIG))]
    assert len(dropped) <= 0.05 * len(texts), dropped
    assert not [register for register, _ in dropped if register != "generator"]


def test_planted_junk_is_dropped() -> None:
    assert [kind for kind, text in fixtures(1) if reason(text, CONFIG) is None] == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("UTF-8 read as Latin-1", "broken characters"),
        ("UTF-8 read as CP949", "broken characters"),
        ("CP949 read as Latin-1", "wrong encoding"),
        ("broken syllables", "loose jamo"),
        ("laughter", "loose jamo"),
        ("keywords", "no sentences"),
        ("product list", "no sentences"),
        ("one line again and again", "repeated lines"),
        ("one phrase again and again", "repeated phrase"),
        ("footer", "menu"),
        ("filler text", "filler text"),
        ("figures", "mostly digits"),
        ("links", "web addresses"),
        ("symbols", "mostly symbols"),
        ("too short", "too short"),
    ],
)
def test_the_reason_says_what_is_wrong(kind: str, why: str) -> None:
    text = next(text for name, text in fixtures(2, 1) if name == kind)
    assert reason(text, CONFIG) == why


def test_a_rule_can_be_switched_off() -> None:
    text = "확인했습니다."
    assert reason(text, CONFIG) == "too short"
    assert reason(text, dataclasses.replace(CONFIG, least_letters=1)) is None
    keywords = "강남맛집 홍대카페 부산학원 대구원룸 " * 30
    free = dataclasses.replace(CONFIG, least_endings=0, most_top_ngram=(), most_duplicate_ngram=())
    assert reason(keywords, free) is None


def test_other_languages_and_program_text_are_not_dropped_for_not_being_korean() -> None:
    english = (
        "The council approved the new budget on Tuesday after a long debate. Several members asked for more money for "
        "schools, and the mayor promised to look into it before the summer. Nobody left early."
    )
    japanese = "今日は雨が降っているので、家で本を読みます。明日は晴れるそうですから、友達と山に登るつもりです。" * 2
    code = "def add(a: int, b: int) -> int:\n    total = a + b\n    return total\n\nresult = add(first, second)\n"
    assert [reason(text, CONFIG) for text in (english, japanese, code)] == [None, None, None]


def test_a_refrain_and_a_repeated_title_are_no_spam() -> None:
    verses = [
        "산에는 꽃이 피고 새가 울어도\n강물은 쉬지 않고 흘러만 간다",
        "그대가 돌아오지 않는 저녁에\n나 홀로 언덕에 앉아 있노라",
        "밤새워 바람 불고 비가 내려도\n등불은 꺼지지 않고 길을 비춘다",
        "먼 데서 들려오는 소리를 따라\n잊었던 이름을 다시 부른다",
    ]
    song = "\n\n".join(f"{verse}\n아리랑 고개로 넘어간다" for verse in verses)
    assert reason(song, CONFIG) is None
    name = "사할린동포 지원에 관한 특별법"
    rule = (
        f"{name} 시행규칙\n제1조(목적) 이 규칙은 「{name}」에서 위임된 사항과 그 시행에 필요한 사항을 규정한다.\n"
        f"제2조(신청) 「{name} 시행령」 제3조에 따른 지원 신청서는 별지 서식에 따르며, 시장에게 제출하여야 한다."
    )
    assert reason(rule, CONFIG) is None


def test_a_short_page_may_name_its_subject_often() -> None:
    page = (
        "푸른하늘 연결 관리자\n푸른하늘 연결 관리자는 창고와 가게를 잇습니다. "
        "푸른하늘 연결 관리자를 열려면 열쇠가 있어야 합니다. 열쇠가 없으면 사무실에 물어보십시오. "
        "문을 닫기 전에 푸른하늘 연결 관리자 창에서 오늘 오간 물건의 수를 적어 둡니다. "
        "수가 다르면 푸른하늘 연결 관리자 기록을 봅니다."
    )
    assert reason(page, CONFIG) is None


def test_a_page_about_logins_is_no_menu() -> None:
    page = (
        "로그인 살피기\n누가 언제 들어왔는지 적어 두면 나중에 까닭을 찾기 쉽습니다.\n"
        "- 실패한 로그인\n- 성공한 로그인\n로그인 기록을 켜려면\n"
        "설정 창에서 보안을 고르고 원하는 것을 누른 다음 서비스를 다시 시작합니다."
    )
    assert reason(page, CONFIG) is None
    assert reason(page + "\n회원가입\n장바구니\n고객센터\n이용약관", CONFIG) == "menu"


def test_zero_width_spaces_and_a_stray_icon_do_not_drop_a_page() -> None:
    text = "\n".join(text for _, text in paragraphs()[:6])
    assert reason("\u200b\ufeff" + text.replace(". ", ".\u200b "), CONFIG) is None
    assert reason(text + "\ue001", CONFIG) is None


@given(st.text(alphabet=st.characters(), max_size=400))
def test_any_text_has_the_same_answer_twice(text: str) -> None:
    found = reason(text, CONFIG)
    assert found is None or (found and len(found) < 40)
    assert reason(text, CONFIG) == found


@pytest.mark.parametrize("unit", ["가", "가나 ", "1", "#", "\n", "http://a ", "lorem ipsum ", "다.\n", "\u1100", " "])
def test_time_is_linear_in_hostile_text(unit: str) -> None:
    """Eight times the text takes about eight times as long; squared, it would take 64 times."""
    times = []
    for size in (100_000, 800_000):
        text = unit * (size // len(unit))
        start = time.perf_counter()
        reason(text, CONFIG)
        times.append(time.perf_counter() - start)
    assert times[1] < 40 * times[0] + 0.5


@pytest.mark.skipif(not (SHARED / "corpus").is_dir(), reason="the shared corpus is not here")
@pytest.mark.parametrize("name", ["react-docs-ko", "python-docs-ko"])
def test_published_documentation_is_kept(name: str) -> None:
    with lzma.open(SHARED / "corpus" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    assert sum(reason(text, CONFIG) is None for text in texts) >= 0.98 * len(texts)


@pytest.mark.skipif(not (SHARED / "bench").is_dir(), reason="the shared benchmarks are not here")
def test_passages_of_an_encyclopedia_are_kept() -> None:
    """Text that no rule was fitted to."""
    with tarfile.open(SHARED / "bench" / "kobest.tar.xz") as archive:
        file = archive.extractfile("kobest/v1.0/BoolQ/test.tsv")
        assert file is not None
        texts = [line.decode().split("\t")[1] for line in file.readlines()[1:]]
    assert len(texts) > 1_000
    assert sum(reason(text, CONFIG) is None for text in texts if len(text) > 80) >= 0.98 * len(texts)
