"""`dokja build corpus` as a whole: what goes in comes out or is counted."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import END, all_texts, prose, recipe, stop_at, write
from tokenizers import Tokenizer

from dokja.build.corpus.pipeline import build


def test_every_document_comes_out_or_is_counted(folder: Path) -> None:
    rng = random.Random(1)
    kept = [prose(rng) for _ in range(20)]
    copy = kept[0].replace("나무는", "나무도")
    write(folder / "가" / "more.jsonl", [*kept, copy, kept[1], kept[2], "짧다", "The brown fox is not Korean. " * 9,
                                        "안녕하세요 여러분".encode().decode("latin-1") * 9])
    (folder / "가" / "rows.jsonl").write_text('{"title": "글이 없다"}\n', encoding="utf-8")
    made = build(recipe(folder, language={"keep": ["ko"]}), folder / "out")
    source = made.manifest["sources"]["가"]
    dropped = {(step, why): count["documents"] for step, reasons in source["dropped"].items()
               for why, count in reasons.items()}
    assert dropped == {("read", "no text"): 1, ("clean", "wrong encoding"): 1, ("language", "en"): 1,
                       ("quality", "too short"): 1, ("exact", "the same text"): 2, ("near", "nearly the same text"): 1}
    assert source["in"]["documents"] == 150 + 20 + 7 == (
        source["out"]["documents"] + source["heldout"]["documents"] + sum(dropped.values()))
    texts = all_texts(made, "가")
    assert len(texts) == len(set(texts)) == 170
    assert (copy in texts) + (kept[0] in texts) == 1
    assert set(kept[1:]) <= set(texts)
    assert source["out"]["bytes"] == sum(len(text.encode()) for text in made.texts("가"))
    shares = [made.manifest["sources"][name]["share"] for name in ("가", "나")]
    assert sum(shares) == pytest.approx(1)
    assert made.stages == [{"name": "main", "tokens": None, "weights": {"가": shares[0], "나": shares[1]}}]
    assert source["licence"] == "CC0-1.0"


def test_the_report_shows_what_each_step_dropped(folder: Path) -> None:
    write(folder / "가" / "more.jsonl", ["목록 " * 200, prose(random.Random(9)) + "\n전화 010-1234-5678"])
    build(recipe(folder), folder / "out")
    said = (folder / "out" / "report.md").read_text(encoding="utf-8")
    assert "| 가 | quality | no sentences | 1 |" in said
    assert "목록 목록 목록" in said
    assert "[전화번호]" in said
    assert "1234-5678" not in said
    told = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    assert told["languages"]["가"] == {"ko": 152}


def test_of_equal_texts_the_one_of_the_earlier_source_is_kept(folder: Path) -> None:
    texts = [prose(random.Random(5)) for _ in range(1)]
    write(folder / "가" / "more.jsonl", texts)
    write(folder / "나" / "more.jsonl", texts)
    made = build(recipe(folder), folder / "out")
    assert texts[0] in all_texts(made, "가")
    assert texts[0] not in all_texts(made, "나")
    assert made.manifest["sources"]["나"]["dropped"] == {"exact": {"the same text": {
        "documents": 1, "bytes": len(texts[0].encode())}}}


def test_heldout_documents_are_a_share_by_hash_and_in_no_other_set(folder: Path) -> None:
    made = build(recipe(folder, heldout=0.3), folder / "out")
    held, trained = set(made.texts("가", heldout=True)), set(made.texts("가"))
    assert not held & trained
    assert 25 < len(held) < 65
    write(folder / "가" / "more.jsonl", [prose(random.Random(3)) for _ in range(50)])
    again = build(recipe(folder, heldout=0.3), folder / "again")
    assert held <= set(again.texts("가", heldout=True))  # more text moves none from one to the other
    assert build(recipe(folder, heldout=0), folder / "none").files("가", "text", heldout=True) == []


def test_tokens_are_those_of_the_tokenizer_each_document_ended(folder: Path, tokenizer: Path) -> None:
    write(folder / "나" / "more.jsonl", [prose(random.Random(4)) + f"\n여기서 {END} 라고 쓴 것은 글이다."])
    made = build(recipe(folder, tokenizer=str(tokenizer)), folder / "out")
    assert len(made.files("가", "tokens")) > 2
    reader = Tokenizer.from_file(str(tokenizer))
    end = reader.token_to_id(END)
    reader.encode_special_tokens = True
    for source in ("가", "나"):
        for heldout in (False, True):
            texts, at = list(made.texts(source, heldout)), 0
            for ids, ends in made.tokens(source, heldout):
                assert ids.dtype == np.uint16
                for start, stop in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
                    assert ids[start:stop].tolist() == [*reader.encode(texts[at], add_special_tokens=False).ids, end]
                    at += 1
            assert at == len(texts) > 0
    told = made.manifest["sources"]["가"]
    assert told["out"]["tokens"] == sum(len(ids) for ids, _ in made.tokens("가"))
    assert made.manifest["tokens"]["dtype"] == "uint16"
    assert made.manifest["tokens"]["vocab"] == 600
    assert (folder / "out" / "tokenizer.json").read_bytes() == tokenizer.read_bytes()
    first = next(made.texts("가"))
    assert first != min(all_texts(made, "가"))  # shuffled


def test_personal_data_is_nowhere_not_even_while_work_goes_on(folder: Path, tokenizer: Path) -> None:
    secret = "010-9876-5432"
    write(folder / "나" / "more.jsonl", [prose(random.Random(6)) + f"\n연락처는 {secret}입니다."])
    with pytest.raises(KeyboardInterrupt):
        build(recipe(folder), folder / "out", progress=stop_at("finish"))
    import zstandard

    def everything(path: Path) -> bytes:
        data = path.read_bytes()
        if path.suffix == ".run":  # frames, one after the other, then their places
            found, at = b"", 0
            while data[at : at + 4] == b"\x28\xb5\x2f\xfd":
                part = zstandard.ZstdDecompressor().decompressobj()
                found += part.decompress(data[at:])
                at = len(data) - len(part.unused_data)
            return found
        return zstandard.decompress(data, 1 << 26) if path.suffix == ".zst" else data

    looked = [everything(path) for path in (folder / "out").rglob("*") if path.is_file()]
    assert any("[전화번호]".encode() in data for data in looked)
    made = build(recipe(folder), folder / "out")
    assert any("연락처는 [전화번호]입니다." in text for text in all_texts(made, "나"))
    looked += [path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file() and path.suffix != ".zst"]
    assert not any(secret.encode() in data for data in looked)
    assert made.manifest["sources"]["나"]["changed"]["redact"] == {"전화번호": 1}


# Benchmarks.


def test_what_a_benchmark_holds_is_cut_out_dropped_or_reported(folder: Path) -> None:
    question = ("다음 가운데 은행나무 가로수가 처음으로 심어진 도시의 이름과 그 해를 옳게 짝지은 것은 무엇인지 하나만 "
                "고르시오")
    write(folder / "bench" / "test.jsonl", [question])
    rng = random.Random(7)
    leaked = f"{prose(rng, 20)}\n{question}\n{prose(rng, 20)}"
    write(folder / "나" / "more.jsonl", [leaked])
    outcomes = {}
    for action in ("cut", "drop", "report"):
        made = build(recipe(folder, decontaminate={"benchmarks": [str(folder / "bench")], "action": action}),
                     folder / action)
        outcomes[action] = all_texts(made, "나")
        hits = [json.loads(line) for line in (folder / action / "hits.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {(hit["source"], hit["item"], hit["common"]) for hit in hits} == {("나", 1, False)}
        assert " ".join(question.split()[:13]) == hits[0]["ngram"]
    assert leaked in outcomes["report"]
    assert len(outcomes["drop"]) == len(outcomes["report"]) - 1
    assert not any(question[:20] in text for text in outcomes["drop"] + outcomes["cut"])
    parts = [text for text in outcomes["cut"] if text not in outcomes["drop"]]
    assert len(parts) == 2
    assert all(part in leaked for part in parts)
    assert sum(map(len, parts)) > len(leaked) - len(question) - 2 * 210


def test_a_document_full_of_a_benchmark_is_dropped_and_told_so(folder: Path) -> None:
    """Brown et al. 2020, appendix C: what would be cut into more than ten parts goes."""
    rng = random.Random(9)
    questions = [prose(rng, 2) for _ in range(11)]
    write(folder / "bench" / "test.jsonl", questions)
    full = [f"{question}\n{prose(rng, 20)}" for question in questions]
    write(folder / "나" / "more.jsonl", ["\n".join(full), "\n".join(full[:10]), questions[0]])
    made = build(recipe(folder, near=None, decontaminate={"benchmarks": [str(folder / "bench")]}), folder / "out")
    told = made.manifest["sources"]["나"]
    assert {why: count["documents"] for why, count in told["dropped"]["decontaminate"].items()} == {
        "bench/test.jsonl, over 10 parts": 1, "bench/test.jsonl, too little is left": 1}
    assert told["changed"]["decontaminate"] == {"bench/test.jsonl": 1}


def test_what_many_documents_share_is_common_language(folder: Path) -> None:
    clause = "거짓이나 그 밖의 부정한 방법으로 허가를 받은 자는 1년 이하의 징역 또는 1천만원 이하의 벌금에 처한다"
    write(folder / "bench" / "test.jsonl", [clause])
    rng = random.Random(8)
    write(folder / "나" / "more.jsonl", [f"{prose(rng, 20)}\n{clause}." for _ in range(12)])
    counts = {}
    for common in (12, 11):
        made = build(recipe(folder, decontaminate={"benchmarks": [str(folder / "bench")], "common": common}),
                     folder / str(common))
        counts[common] = sum(clause in text for text in all_texts(made, "나"))
    assert counts == {12: 0, 11: 12}
