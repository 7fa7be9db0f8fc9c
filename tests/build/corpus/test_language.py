"""Languages: Korean in all its mixtures, its neighbours, program text, and the rest by py3langid."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import paragraphs

import dokja
from dokja.build.corpus.language import identify

SENTENCES = [
    ("ko", "안녕"),
    ("ko", "ㅋㅋㅋ 그래"),
    ("ko", "SD카드 망가졌어"),
    ("ko", "이 API는 React Server Components와 Suspense를 사용합니다."),
    ("ko", "Windows 10에서 Visual Studio를 실행하세요."),
    ("ko", "pip install dokja 명령으로 설치한다"),
    ("ko", "第1條 本法은 國民의 權利를 保護함을 目的으로 한다"),
    ("ko", "大韓民國의 主權은 國民에게 있고, 모든 權力은 國民으로부터 나온다"),
    ("ko", "일본어로 고양이는 猫(ねこ)라고 쓴다"),
    ("en", "Hello!"),
    ("en", "It was raining, so we stayed home and read."),
    ("en", "The Korean word 안녕하세요 means hello and is used politely."),
    ("en", "Seoul (서울) is the capital of South Korea, and its largest city."),
    ("ja", "今日は雨が降っているので、家で本を読みます。"),
    ("ja", "東京都庁の発表によると、来年度の予算案は過去最大となる見通し。"),
    ("ja", "韓国語の「안녕」は挨拶の言葉です。"),
    ("zh", "今天下雨，所以我们待在家里看书。"),
    ("zh", "國立故宮博物院位於臺北市"),
    ("zh", "他用 Python 编写程序"),
    ("code", "def f(x):\n    return x + 1\n\nprint(f(2))"),
    ("code", '#include <stdio.h>\nint main(void) {\n  printf("hi");\n  return 0;\n}'),
    ("code", "SELECT name, age FROM users WHERE age > 20;\nINSERT INTO logs VALUES (1, 'a');"),
    ("code", "const f = (a) => a.map((x) => x * 2);\nexport default f;"),
    ("code", '# 두 수를 더한다\ndef add(a, b):\n    """합"""\n    return a + b\n\nx = add(1, 2)\nprint(x)'),
    ("code", '{\n  "name": "dokja",\n  "version": "1.0",\n  "private": true\n}'),
    ("fr", "Le conseil a approuvé le nouveau budget mardi après un long débat."),
    ("de", "Es regnete, also blieben wir zu Hause und lasen."),
    ("es", "El consejo aprobó el nuevo presupuesto tras un largo debate."),
    ("vi", "Trời mưa nên chúng tôi ở nhà đọc sách."),
    ("id", "Hujan turun, jadi kami tinggal di rumah dan membaca."),
    ("ru", "Шёл дождь, поэтому мы остались дома и читали."),
    ("und", "12345 --- 678"),
    ("und", ""),
]


@pytest.mark.parametrize(("language", "text"), SENTENCES)
def test_a_sentence_is_told(language: str, text: str) -> None:
    found, confidence = identify(text)
    assert found == language
    assert 0 <= confidence <= 1


def test_prose_of_every_register_is_korean() -> None:
    assert [register for register, text in paragraphs() if identify(text)[0] != "ko"] == []


def test_a_korean_tutorial_with_listings_is_korean_and_a_program_with_korean_comments_is_code() -> None:
    listing = "def add(a, b):\n    return a + b\n\nfor i in range(10):\n    print(add(i, i))\n"
    prose = "이 함수는 두 수를 더해서 돌려준다. 반복문 안에서 열 번 불러 결과를 차례로 출력한다.\n"
    assert identify(prose * 3 + listing + prose * 2)[0] == "ko"
    assert identify(("# 결과를 더한다\n" + listing) * 5)[0] == "code"


def test_the_sources_of_this_package_are_code() -> None:
    files = [*Path(dokja.__file__).parent.rglob("*.py"), *Path(dokja.__file__).parent.rglob("*.cpp")]
    texts = [text for text in (file.read_text(encoding="utf-8") for file in files) if len(text) > 2_000]
    # A file whose parts that are looked at are all documentation is English to any reader.
    assert sum(identify(text)[0] == "code" for text in texts) >= 0.95 * len(texts)


@given(st.text(max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    found, confidence = identify(text)
    assert found
    assert 0 <= confidence <= 1
    assert identify(text) == (found, confidence)


def test_a_long_text_is_looked_at_in_parts() -> None:
    assert identify("가나다라 " * 1_000_000)[0] == "ko"
