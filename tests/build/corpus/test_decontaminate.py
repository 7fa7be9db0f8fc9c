"""Decontamination: planted benchmark text is found and named, whatever its case, punctuation and spacing."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import prose

from dokja.build.corpus.decontaminate import LEAST_WORDS, NGRAM, Benchmarks, Hit
from dokja.errors import DokjaError

SHARED = Path(__file__).parents[3].parent / "shared" / "bench"
LONG = (
    "다음 글을 읽고 물음에 답하시오. 강을 사이에 둔 두 마을은 해마다 가을이면 다리 위에서 줄다리기를 하였는데, "
    "진 마을이 이긴 마을의 논에 물을 먼저 대어 주기로 되어 있었다."
)
SHORT = "물이 가장 무거워지는 온도는 섭씨 몇 도쯤 되는지 고르시오."
TINY = "서울은 한국의 수도이다."


@pytest.fixture(scope="module")
def benchmarks() -> Benchmarks:
    rows = [("a.jsonl", 1, LONG), ("a.jsonl", 2, SHORT), ("a.jsonl", 3, TINY), ("b.jsonl", 7, LONG)]
    return Benchmarks(rows)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return prose(21, 60, 800)


def test_clean_text_has_no_hits(benchmarks: Benchmarks, texts: list[str]) -> None:
    assert [hit for text in texts for hit in benchmarks.hits(text)] == []


def test_a_planted_item_is_reported_at_every_ngram(benchmarks: Benchmarks, texts: list[str]) -> None:
    text = f"{texts[0]}\n{LONG}\n{texts[1]}"
    hits = benchmarks.hits(text)
    assert len(hits) == len(LONG.split()) - NGRAM + 1
    assert {(hit.benchmark, hit.item) for hit in hits} == {("a.jsonl", 1)}  # the first that has it
    assert [hit.position for hit in hits] == sorted(hit.position for hit in hits)
    assert hits[0].position == len(texts[0]) + 1
    assert all(text[hit.position : hit.position + len(hit.ngram)] == hit.ngram for hit in hits)
    assert all(len(hit.ngram.split()) == NGRAM for hit in hits)


def test_a_part_of_thirteen_words_is_enough_and_twelve_are_not(benchmarks: Benchmarks) -> None:
    words = LONG.split()
    assert len(benchmarks.hits("앞말 " + " ".join(words[3 : 3 + NGRAM]) + " 뒷말")) == 1
    assert benchmarks.hits("앞말 " + " ".join(words[3 : 2 + NGRAM]) + " 뒷말") == []


def test_a_short_item_is_found_whole_and_only_whole(benchmarks: Benchmarks) -> None:
    assert LEAST_WORDS <= len(SHORT.split()) < NGRAM
    assert benchmarks.hits(f"문제 {SHORT} 정답은 4도") == [Hit("a.jsonl", 2, SHORT.rstrip("."), 3)]
    assert benchmarks.hits(" ".join(SHORT.split()[:-1])) == []


def test_what_is_too_short_to_tell_is_counted_and_not_searched(benchmarks: Benchmarks) -> None:
    assert (benchmarks.items, benchmarks.unsearched) == (3, 1)
    assert benchmarks.hits(TINY) == []
    assert benchmarks.ngrams == len(LONG.split()) - NGRAM + 1 + 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" ", "\n  "),
        lambda text: text.replace(",", " ·").replace(".", "!?"),
        lambda text: f'"{text}"'.replace("가을이면", "**가을이면**"),
        lambda text: "\U0001f600" * 5 + text,
    ],
)
def test_punctuation_and_spacing_do_not_hide_it(benchmarks: Benchmarks, change: object) -> None:
    assert callable(change)
    text = change(LONG)
    hits = benchmarks.hits(text)
    assert len(hits) >= len(LONG.split()) - NGRAM + 1
    assert all(text[hit.position : hit.position + len(hit.ngram)] == hit.ngram for hit in hits)


def test_case_width_and_decomposition_do_not_hide_it() -> None:
    import unicodedata

    item = "The quick brown fox jumps over the lazy dog while the cat watches it from a 한글 지붕"
    found = Benchmarks([("x", 1, unicodedata.normalize("NFD", item))])
    assert len(found.hits(item.upper())) == len(item.split()) - NGRAM + 1
    assert found.hits(item.upper().replace("QUICK", "ＱＵＩＣＫ"))[0].position == 0


def test_a_long_document_is_searched_in_blocks_and_no_hit_is_lost_or_doubled(benchmarks: Benchmarks) -> None:
    filler = "가나다 라마바 사아자 차카타 "
    for place in ((1 << 20) - 100, (1 << 20) - 4096, (1 << 20) - 4000, 3 << 20):
        text = (filler * (place // len(filler) + 1))[:place] + " " + LONG + " " + filler * 1000
        hits = benchmarks.hits(text)
        assert len(hits) == len(LONG.split()) - NGRAM + 1
        assert hits[0].position == place + 1


def test_every_format_is_read(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"question": LONG, "choices": ["가", SHORT], "meta": {"id": 3}}]
    folder = tmp_path / "bench"
    folder.mkdir()
    line = json.dumps(rows[0], ensure_ascii=False)
    (folder / "a.jsonl").write_text(line + "\n\n", encoding="utf-8")
    (folder / "b.json").write_text(json.dumps({"version": 1, "data": rows}), encoding="utf-8")
    (folder / "c.tsv").write_text(f"1\t{LONG}\t가\n2\t{SHORT}\t나\n", encoding="utf-8")
    (folder / "e.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    (folder / "README.md").write_text("not a benchmark", encoding="utf-8")
    table = io.StringIO()
    csv.writer(table).writerows([["question", "answer"], [LONG, SHORT]])
    (folder / "d.csv").write_text(table.getvalue(), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"q": [LONG], "c": [[SHORT]]}), folder / "f.parquet")
    for file in sorted(folder.iterdir()):
        if file.suffix == ".md":
            with pytest.raises(DokjaError, match=r"README\.md"):
                Benchmarks.read([file])
            continue
        found = Benchmarks.read([file])
        assert found.items == 2, file
        assert {hit.benchmark for hit in found.hits(LONG)} == {file.name}
    whole = Benchmarks.read([folder])
    assert whole.items == 12
    assert whole.files[0] == "bench/a.jsonl"
    with tarfile.open(tmp_path / "bench.tar.xz", "w:xz") as archive:
        archive.add(folder, "bench")
    packed = Benchmarks.read([tmp_path / "bench.tar.xz"])
    assert (packed.items, packed.ngrams) == (whole.items, whole.ngrams)
    assert packed.hits(LONG)[0].benchmark.startswith("bench.tar.xz/bench/")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{not json\n", encoding="utf-8")
    (tmp_path / "bad.tar.xz").write_bytes(b"no archive at all")
    (tmp_path / "empty.jsonl").write_text("{}\n", encoding="utf-8")
    for name, match in (
        ("bad.jsonl", r"bad\.jsonl"),
        ("bad.tar.xz", "no tar archive"),
        ("empty.jsonl", "no benchmark text"),
        ("missing.jsonl", r"missing\.jsonl"),
    ):
        with pytest.raises(DokjaError, match=match):
            Benchmarks.read([tmp_path / name])


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 60))
def test_hits_are_those_that_sets_of_words_would_find(seed: int, start: int, length: int) -> None:
    """Against plain Python sets of tuples of words."""
    rng = random.Random(seed)
    vocabulary = [f"낱말{n}" for n in range(12)]
    item = rng.choices(vocabulary, k=40)
    document = rng.choices(vocabulary, k=20) + item[start : start + length] + rng.choices(vocabulary, k=20)
    expected = {tuple(item[at : at + NGRAM]) for at in range(len(item) - NGRAM + 1)}
    places = [at for at in range(len(document) - NGRAM + 1) if tuple(document[at : at + NGRAM]) in expected]
    hits = Benchmarks([("x", 1, " ".join(item))]).hits(" ".join(document))
    assert [hit.ngram.split() for hit in hits] == [document[at : at + NGRAM] for at in places]


def test_a_heavily_contaminated_document_takes_linear_time(benchmarks: Benchmarks) -> None:
    times = []
    for copies in (100, 800):
        start = time.perf_counter()
        hits = benchmarks.hits((LONG + "\n") * copies)
        times.append(time.perf_counter() - start)
        assert len(hits) >= copies * (len(LONG.split()) - NGRAM + 1)
    assert times[1] < 30 * times[0] + 0.3


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared benchmarks are not here")
def test_published_benchmarks_are_found_again() -> None:
    found = Benchmarks.read([SHARED / "kmmlu.tar.xz", SHARED / "humaneval.tar.xz"])
    assert found.items > 40_000
    with tarfile.open(SHARED / "kmmlu.tar.xz") as archive:
        member = archive.extractfile("kmmlu/data/Criminal-Law-test.csv")
        assert member is not None
        rows = list(csv.DictReader(io.TextIOWrapper(member, encoding="utf-8")))
    questions = [row["question"] for row in rows if len(row["question"].split()) >= NGRAM]
    assert questions
    assert all(found.hits("머리말\n" + question + "\n꼬리말") for question in questions)
