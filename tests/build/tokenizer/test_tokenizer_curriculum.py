"""Tokenizers by stages: the same bytes for the same text, every text back, boundaries where they should be."""

from __future__ import annotations

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dokja.build.document import Document
from dokja.build.korean import documents
from dokja.build.tokenizer.curriculum import _LINE, LEAST, Plan, Trained, count, train
from dokja.build.tokenizer.morphemes import MARK, Morphemes, borders
from dokja.build.tokenizer.patterns import Patterns, cutter
from dokja.build.tokenizer.report import save
from dokja.build.tokenizer.sources import Sample, Source, draw
from dokja.errors import DokjaError
from dokja.models.codec import Codec
from dokja.models.families import family

CHAT = family("solar-open").chat
VOCAB = 3000


@pytest.fixture(scope="module")
def sample() -> Sample:
    numbers = [Document("numbers", f"전화 {n:,}번, 2024년 3월 {n}일 ㅋㅋㅋ ㅠㅠ.\n    return {n * 7919}\n")
               for n in range(300)]
    return draw([Source("korean", list(documents(5, 0, 600))), Source("numbers", numbers)], 10**7)


@pytest.fixture(scope="module")
def trained(sample: Sample) -> Trained:
    return train(sample, Plan(VOCAB), CHAT)


@pytest.fixture(scope="module")
def tokenizer(trained: Trained) -> Tokenizer:
    return trained.tokenizer


@pytest.fixture(scope="module")
def codec(tokenizer: Tokenizer) -> Codec:
    return Codec(tokenizer, CHAT)


@pytest.fixture(scope="module")
def plain(sample: Sample) -> Tokenizer:
    return train(sample, Plan(VOCAB, superwords=0)).tokenizer


def tokens(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.decode([index], skip_special_tokens=False) for index in range(tokenizer.get_vocab_size())]


def said(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([i], skip_special_tokens=False)
            for i in tokenizer.encode(text, add_special_tokens=False).ids]


def test_the_same_text_gives_the_same_bytes(sample: Sample, trained: Trained, tmp_path: Path) -> None:
    save(tmp_path / "one", trained, sample, Plan(VOCAB), CHAT)
    save(tmp_path / "two", train(sample, Plan(VOCAB), CHAT), sample, Plan(VOCAB), CHAT)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert Tokenizer.from_file(str(tmp_path / "one" / "tokenizer.json")).to_str() == trained.tokenizer.to_str()


def test_superwords_span_spaces_after_three_quarters_of_the_vocabulary(tokenizer: Tokenizer, plain: Tokenizer) -> None:
    spelled = tokens(tokenizer)
    assert tokenizer.get_vocab_size() == VOCAB
    several = [i for i, token in enumerate(spelled) if len(token.split()) > 1]
    assert len(several) > VOCAB / 20
    assert min(several) >= 0.75 * VOCAB
    assert max(len(token.split()) for token in spelled) <= 4
    assert not [token for token in tokens(plain) if len(token.split()) > 1]
    text = "\n".join(document.content for document in documents(6, 0, 200))
    assert len(tokenizer.encode(text).ids) < 0.96 * len(plain.encode(text).ids)


def test_the_first_merges_of_a_larger_tokenizer_are_a_smaller_one(sample: Sample, plain: Tokenizer) -> None:
    for plan in (Plan(2000), Plan(2000, superwords=0)):
        assert train(sample, plan, words=plain).tokenizer.to_str() == train(sample, plan).tokenizer.to_str()


def test_what_the_last_stage_counted_is_what_the_tokenizer_does(sample: Sample, trained: Trained) -> None:
    """The sample as it was merged during training is the sample as the finished tokenizer encodes it."""
    again = [0] * VOCAB
    for text, times in sample.texts:
        for index in trained.tokenizer.encode(text, add_special_tokens=False).ids:
            again[index] += times
    assert trained.uses == again


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=60) | st.text("가나 다.ㅋㅏ1234\r\n\t漢é😀́각\u200d", max_size=60))
@example(text="😀👨‍👩‍👧 각 각 \u200d \x00\x7f ﷽ 漢字 \U0010ffff \ufeff\ud7b0")
@example(text="def f(x):\n\treturn x ** 2  # 제곱\r\n\r\n    pass ")
@example(text="<|endoftext|> 사용자가 쓴 것")
def test_every_text_comes_back_as_it_was(codec: Codec, text: str) -> None:
    ids = codec.encode(text)
    assert codec.tokenizer.decode(ids, skip_special_tokens=False) == text
    assert len(ids) <= len(text.encode())


def test_nfc_composes_what_is_encoded_and_nothing_else_does(sample: Sample, tokenizer: Tokenizer) -> None:
    apart = "\u1112\u1161\u11ab\u1100\u1173\u11af"  # 한글, decomposed
    composing = train(sample, Plan(VOCAB, nfc=True)).tokenizer
    assert composing.decode(composing.encode(apart).ids) == "한글"
    assert tokenizer.decode(tokenizer.encode(apart).ids) == apart


def test_digits_go_in_threes_from_the_right_or_alone(sample: Sample, tokenizer: Tokenizer) -> None:
    assert [piece for piece, _ in cutter(Patterns().words).pre_tokenize_str("1234567")] == ["1", "234", "567"]
    assert re.findall(Patterns().pieces, "값은 12345원") == ["값은 ", "12", "345", "원"]
    assert not [token for token in tokens(tokenizer) if any(c.isdigit() for c in token) and not token.isdigit()
                and not any(c in "①②③" for c in token)]
    single = train(sample, Plan(VOCAB, patterns=Patterns(digits="single", jamo="single"))).tokenizer
    assert said(single, "12345원ㅋㅋ")[:5] == list("12345")
    assert said(single, "ㅋㅋㅋ") == list("ㅋㅋㅋ")
    assert not [token for token in tokens(single) if len(token) > 1 and any("ㄱ" <= c <= "ㆎ" for c in token)]


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=80) | st.text("가 ㅋ.?!1\r\n\t", max_size=80), single=st.booleans())
def test_no_pattern_loses_anything(text: str, single: bool) -> None:
    patterns = Patterns("single", "single") if single else Patterns()
    for pattern in (patterns.words, patterns.pieces):
        pieces = [piece for piece, _ in cutter(pattern).pre_tokenize_str(text)]
        assert "".join(pieces) == text
        assert all(pieces)
        lines = _LINE.findall(text)
        assert [piece for line in lines for piece, _ in cutter(pattern).pre_tokenize_str(line)] == pieces
    if not re.search("[\x1c-\x1f]", text):  # white space to Python alone; no text that is read has them
        assert re.findall(patterns.pieces, text) == pieces


def test_a_long_row_of_digits_or_letters_is_cut_in_linear_time() -> None:
    import time

    for pattern in (Patterns().words, Patterns().pieces):
        for text in ("7", "가", ".", " ", "ㅋ", "a."):
            times = []
            for size in (20_000, 160_000):
                begun = time.perf_counter()
                assert "".join(p for p, _ in cutter(pattern).pre_tokenize_str(text * size)) == text * size
                times.append(time.perf_counter() - begun)
            assert times[1] < 40 * times[0] + 0.5  # 8 times the text; squared would be 64


def test_pieces_end_with_sentences_and_lines() -> None:
    cut = [piece for piece, _ in cutter(Patterns().pieces).pre_tokenize_str("갔다. 3.5배 왔다!\n\n- 나 (너)")]
    assert cut == ["갔다.", " ", "3", ".", "5", "배 왔다!\n\n", "- 나 (너)"]


def test_eojeol_end_where_another_script_begins() -> None:
    cut = [piece for piece, _ in cutter(Patterns().words).pre_tokenize_str("React는 값을 state에ㅋㅋ 法을")]
    assert cut == ["React", "는", " 값을", " state", "에", "ㅋㅋ", " 法", "을"]


def test_lines_are_counted_as_often_as_they_are_met() -> None:
    twice = Sample([("나는 간다.\n나는 간다.\n", 2), ("나는 간다.\n끝", 1)], [])
    assert count(twice, re.compile(Patterns().pieces).findall) == {"나는 간다.\n": 5, "끝": 1}


def test_transformers_reads_what_was_trained(sample: Sample, trained: Trained, codec: Codec, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    save(tmp_path, trained, sample, Plan(VOCAB), CHAT)
    tokenizer = trained.tokenizer
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "나는 학교에 갑니다. 12345원\n\n    return x"
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text).ids
    assert theirs.decode(tokenizer.encode(text).ids) == text
    turns = [{"role": "user", "content": "안녕"}]
    assert theirs.apply_chat_template(turns, add_generation_prompt=True, return_dict=False) == codec.prompt(
        [("user", "안녕")])


def test_the_report_adds_up(sample: Sample, trained: Trained, tmp_path: Path) -> None:
    found = save(tmp_path, trained, sample, Plan(VOCAB), CHAT)
    assert json.loads((tmp_path / "tokenizer_report.json").read_text(encoding="utf-8")) == found
    assert sum(found["tokens_by_kind"].values()) == found["vocab"] == VOCAB
    assert found["tokens_by_kind"]["hangul"] > found["tokens_by_kind"]["latin"]
    assert found["tokens_by_kind"]["special"] == 1 + len(CHAT.special)
    assert sum(source["drawn"] for source in found["sources"]) == found["sample_bytes"]
    assert found["sample_tokens"] * found["bytes_per_token"] == pytest.approx(found["sample_bytes"], rel=1e-3)


def test_a_text_too_small_gives_fewer_tokens_and_an_impossible_plan_is_refused() -> None:
    small = Sample([("가나다라 " * LEAST, 1)], [])
    assert train(small, Plan(1000)).tokenizer.get_vocab_size() < 300
    with pytest.raises(DokjaError, match=r"--vocab 200 is too small: 257"):
        train(small, Plan(200))
    with pytest.raises(DokjaError, match="--superwords"):
        Plan(1000, superwords=1.0)
    with pytest.raises(DokjaError, match="more than the whole vocabulary"):
        Plan(1000, superwords=0.6, morphemes=0.6)


def test_morphemes_meet_where_one_begins_and_all_before_it_have_ended() -> None:
    assert borders([(0, 2), (2, 1), (3, 2)]) == [2, 3]
    assert borders([(0, 1), (0, 1), (1, 2)]) == [1]  # two share a syllable
    assert borders([(0, 2), (1, 1), (2, 1), (2, 3)]) == [2]


def test_morphemes_guide_training_and_are_not_needed_after_it(sample: Sample, plain: Tokenizer) -> None:
    pytest.importorskip("kiwipiepy")
    morphemes = Morphemes(sample)
    assert MARK not in morphemes.mark("없는낱말이다아")
    guided = train(sample, Plan(VOCAB, superwords=0, morphemes=0.6)).tokenizer
    assert guided.get_vocab_size() == VOCAB
    assert json.loads(guided.to_str())["pre_tokenizer"] == json.loads(plain.to_str())["pre_tokenizer"]

    def kept(tokenizer: Tokenizer) -> float:
        """Share of the places in words where morphemes meet that are also where tokens meet."""
        hit = total = 0
        for word in sorted(set(" ".join(text for text, _ in sample.texts).split()))[:3000]:
            ends = {end for _, end in tokenizer.encode(word).offsets}
            places = morphemes.borders(word)
            hit += sum(place in ends for place in places)
            total += len(places)
        return hit / total

    assert kept(guided) > kept(plain) + 0.02


def test_morphemes_without_kiwipiepy_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch, sample: Sample) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(DokjaError, match=r"pip install dokja\[morphemes\]"):
        train(sample, Plan(VOCAB, morphemes=0.3))


def test_offsets_follow_one_another(tokenizer: Tokenizer) -> None:
    offsets = tokenizer.encode("나는 학교에 갑니다. 또 만납시다").offsets
    assert all(first[1] <= second[1] for first, second in pairwise(offsets))
