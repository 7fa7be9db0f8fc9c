"""`dokja build corpus` as a whole: what goes in comes out or is counted, to the same bytes however it is run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from typer.testing import CliRunner

from dokja.build.corpus.engine import engine
from dokja.build.corpus.pipeline import build
from dokja.build.corpus.recipe import from_dict
from dokja.build.corpus.shards import Shards, open_shards
from dokja.build.korean import documents
from dokja.errors import DokjaError

END = "<|endoftext|>"
TEXT = """나무는 바람에 흔들리고 강물은 조용히 흐르며 아이들이 마당에서 논다 저녁이면 등불이 하나씩 켜지고 사람들은
집으로 돌아온다 산마루에 구름이 걸려 있다 시장에는 과일을 파는 이들이 모여 이야기를 나눈다 기차가 들판을 지나 바다로
간다 책을 읽던 그는 창밖을 보았다 눈이 내리는 거리에 발자국이 남았다"""
WORDS = TEXT.split()


def prose(rng: random.Random, sentences: int = 12) -> str:
    """Sentences of words drawn at random: no two are near-duplicates."""
    return "\n".join(" ".join(rng.choices(WORDS, k=rng.randint(6, 12))) + "." for _ in range(sentences))


def write(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")


def recipe(folder: Path, **more: Any) -> Any:
    """Two sources, small shards, and steps as by default."""
    data: dict[str, Any] = {
        "name": "시험", "heldout": 0.1,
        "sources": [{"name": name, "paths": [str(folder / name)], "licence": "CC0-1.0", "origin": "시험"}
                    for name in ("가", "나")],
        "sizes": {"shard_bytes": 4000, "shard_tokens": 9000, "run_bytes": 20_000, "bucket_bytes": 20_000},
    }
    return from_dict({**data, **more})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = random.Random(0)
    for name, count in (("가", 150), ("나", 60)):
        texts = [prose(rng) for _ in range(count)]
        for part in range(3):
            write(tmp_path / name / f"{part}.jsonl", texts[part::3])
    return tmp_path


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator([document.content for document in documents(1, 0, 100)], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the report, which has times."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and not path.name.startswith(("report", "recipe"))}


def all_texts(shards: Shards, source: str) -> list[str]:
    return [*shards.texts(source), *shards.texts(source, heldout=True)]


# What comes out.


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


# The same bytes.


def test_workers_order_of_files_and_place_do_not_matter(folder: Path, tokenizer: Path) -> None:
    one = build(recipe(folder, tokenizer=str(tokenizer)), folder / "one")
    three = build(recipe(folder, tokenizer=str(tokenizer)), folder / "three", workers=3)
    assert contents(one.path) == contents(three.path)
    moved = folder / "moved"
    for name in ("가", "나"):
        for number, path in enumerate(sorted((folder / name).iterdir(), reverse=True)):
            target = moved / name / f"{number}.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    assert build(recipe(moved, tokenizer=str(tokenizer)), folder / "other").manifest == one.manifest
    other = build(recipe(folder, tokenizer=str(tokenizer), seed=2), folder / "seed")
    assert other.manifest["hash"] != one.manifest["hash"]


def stop_at(phase: str, after: int = 1) -> Any:
    def progress(name: str, done: int, whole: int) -> None:
        if name == phase and done >= after:
            raise KeyboardInterrupt
    return progress


def test_an_interrupted_run_goes_on_to_the_same_bytes(folder: Path, tokenizer: Path) -> None:
    whole = build(recipe(folder, tokenizer=str(tokenizer)), folder / "whole")
    for phase, after in (("read", 1), ("read", 4), ("near", 1), ("finish", 2), ("join", 1)):
        out = folder / f"{phase}{after}"
        with pytest.raises(KeyboardInterrupt):
            build(recipe(folder, tokenizer=str(tokenizer)), out, progress=stop_at(phase, after))
        with pytest.raises(DokjaError, match="holds no finished corpus"):
            open_shards(out)
        done: list[str] = []
        build(recipe(folder, tokenizer=str(tokenizer)), out, progress=lambda name, at, of, done=done: done.append(name))
        assert done.count("read") == (6 if phase == "read" and after == 1 else 3 if phase == "read" else 1)
        assert contents(out) == contents(whole.path)


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(folder: Path) -> None:
    whole = build(recipe(folder), folder / "whole")
    code = ("import os, signal, sys; sys.path.insert(0, sys.argv[1]); from test_pipeline import *\n"
            "left = int(sys.argv[3])\n"
            "def replace(*names, real=os.replace):\n"
            "    global left\n"
            "    left -= 1\n"
            "    left or os.kill(os.getpid(), signal.SIGKILL)\n"
            "    real(*names)\n"
            "os.replace = replace\n"
            "build(recipe(Path(sys.argv[2])), Path(sys.argv[2]) / 'out')")
    for moment in (2, 9):
        done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(folder), str(moment)])
        assert done.returncode == -signal.SIGKILL
        assert not (folder / "out" / "manifest.json").exists()
    build(recipe(folder), folder / "out")
    assert contents(folder / "out") == contents(whole.path)


def test_another_recipe_or_other_files_begin_anew(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(recipe(folder), folder / "out", progress=stop_at("finish"))
    write(folder / "나" / "more.jsonl", [prose(random.Random(3))])
    whole = build(recipe(folder, seed=5), folder / "whole")
    assert contents(build(recipe(folder, seed=5), folder / "out").path) == contents(whole.path)


def test_a_tokenizer_and_benchmarks_that_changed_are_read_again(folder: Path, tokenizer: Path) -> None:
    own = folder / "tokenizer.json"
    shutil.copyfile(tokenizer, own)
    text = json.loads((folder / "가" / "0.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    write(folder / "bench" / "test.jsonl", ["어느 글에도 없는 물음을 여기에 길게 적어 두니 겹치는 것이 없어야 한다"])
    more = {"tokenizer": str(own), "decontaminate": {"benchmarks": [str(folder / "bench")], "action": "report"}}
    made = build(recipe(folder, **more), folder / "out")
    assert (made.path / "hits.jsonl").read_text(encoding="utf-8") == ""
    write(folder / "bench" / "test.jsonl", [text])
    one_a_byte = {token: number for number, token in enumerate([END, *pre_tokenizers.ByteLevel.alphabet()])}
    plain = Tokenizer(models.BPE(one_a_byte, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.save(str(own))
    again = build(recipe(folder, **more), folder / "out", fresh=True)
    assert (again.path / "hits.jsonl").read_text(encoding="utf-8") != ""
    assert again.tokens("나")[0][1][0] == len(next(again.texts("나")).encode()) + 1


# What can go wrong.


@contextlib.contextmanager
def tiny_disk(at: Path) -> Iterator[None]:
    at.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(at)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk of 200 KB cannot be mounted here: " + mounted.stderr.decode().strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounting a tiny disk needs root on Linux")
def test_a_disk_that_is_full(folder: Path) -> None:
    with tiny_disk(folder / "disk"):
        for workers in (1, 2):
            with pytest.raises(DokjaError, match=r"the disk of .* is full; free some space"):
                build(recipe(folder), folder / "disk" / "out", workers=workers)
            assert not (folder / "disk" / "out" / "manifest.json").exists()
        subprocess.run(["mount", "-o", "remount,size=50m", str(folder / "disk")], check=True)
        made = build(recipe(folder), folder / "disk" / "out")
        assert made.manifest["sources"]["가"]["out"]["documents"] > 100


def test_a_finished_corpus_is_only_replaced_on_demand_and_once_the_new_one_is_whole(folder: Path) -> None:
    first = build(recipe(folder), folder / "out")
    with pytest.raises(DokjaError, match="replace it with --fresh"):
        build(recipe(folder), folder / "out")
    with pytest.raises(KeyboardInterrupt):
        build(recipe(folder, seed=3), folder / "out", fresh=True, progress=stop_at("finish"))
    assert open_shards(folder / "out") == first
    first.verify()
    second = build(recipe(folder, seed=3), folder / "out", fresh=True)
    second.verify()
    assert second.manifest["hash"] != first.manifest["hash"]
    (folder / "other").mkdir()
    (folder / "other" / "mine.txt").write_text("내 것", encoding="utf-8")
    with pytest.raises(DokjaError, match="holds files that are no corpus"):
        build(recipe(folder), folder / "other")


def test_a_corpus_that_was_changed_is_told(folder: Path, tokenizer: Path) -> None:
    made = build(recipe(folder, tokenizer=str(tokenizer)), folder / "out")
    made.verify()
    for shard in (made.files("가", "tokens")[0]["file"], made.files("나", "text")[0]["file"]):
        path = made.path / shard
        whole = path.read_bytes()
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1, whole[-1]]))
        with pytest.raises(DokjaError, match=f"{path.name} has changed"):
            made.verify()
        path.write_bytes(whole)
    path = made.path / made.files("가", "tokens")[0]["file"]
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DokjaError, match="is not as long as"):
        made.tokens("가")
    with pytest.raises(DokjaError, match="has no source '다'; it has 가, 나"):
        made.tokens("다")
    manifest = made.path / "manifest.json"
    told = manifest.read_text(encoding="utf-8")
    manifest.write_text(told.replace("CC0-1.0", "MIT"), encoding="utf-8")
    with pytest.raises(DokjaError, match="has changed since"):
        open_shards(made.path)


def test_what_cannot_be_done_is_said_before_any_work(folder: Path, tokenizer: Path) -> None:
    for more, told in (({"tokenizer": "none.json"}, "none.json does not exist"),
                       ({"tokenizer": str(tokenizer), "end_of_text": "<end>"}, "has no token '<end>'"),
                       ({"decontaminate": {"benchmarks": [str(folder / "none")]}}, "none does not exist")):
        with pytest.raises(DokjaError, match=re.escape(told)):
            build(recipe(folder, **more), folder / "out")
    with pytest.raises(DokjaError, match="unknown engine 'spark'"):
        build(recipe(folder), folder / "out", engine_name="spark")
    with pytest.raises(DokjaError, match=r"no text is left of 210 documents \(210 language: ko\)"):
        build(recipe(folder, language={"keep": ["fr"]}), folder / "out")


def test_two_runs_do_not_share_a_folder(folder: Path) -> None:
    with pytest.raises(DokjaError, match="another run is working in"):
        build(recipe(folder), folder / "out", progress=lambda name, done, whole: build(
            recipe(folder), folder / "out") and None)


# Size.


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Of 18 MB more text less than 4 MB show in the peak: buffers that were not full at first."""
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from test_pipeline import *\n"
            "sizes = {'run_bytes': 1 << 20, 'bucket_bytes': 1 << 20}\n"
            "build(recipe(Path(sys.argv[2]), quality=None, sizes=sizes), Path(sys.argv[2]) / 'out')\n"
            "print(re.search(r'VmHWM:\\s+([0-9]+) kB', Path('/proc/self/status').read_text())[1])")
    peaks, sizes = [], []
    for times in (1, 10):
        folder, rng = tmp_path / str(times), random.Random(times)
        for name in ("가", "나"):
            write(folder / name / "a.jsonl", [prose(rng, 450) for _ in range(25 * times)])
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*.jsonl")))
        done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(folder)],
                              capture_output=True, text=True, check=True)
        peaks.append(1024 * int(done.stdout))
    assert sizes[1] - sizes[0] > 15_000_000
    assert peaks[1] - peaks[0] < 4_000_000


# The command, and Ray.


def test_the_command_builds_what_its_recipe_says(folder: Path, tokenizer: Path) -> None:
    from dokja.build.command import app

    made = folder / "recipe.yaml"
    made.write_text(f"name: 시험\nsources:\n- {{name: 가, paths: [{folder / '가'}], licence: CC0-1.0, origin: 시험}}\n",
                    encoding="utf-8")
    run = ["corpus", str(made), "--out", str(folder / "out"), "--workers", "1", "--set", f"tokenizer={tokenizer}"]
    told = CliRunner().invoke(app, run)
    assert told.exit_code == 0, told.output
    assert "| 가 | 150 |" in told.output
    assert open_shards(folder / "out").manifest["hash"][:16] in told.output
    manifest = CliRunner().invoke(app, [*run, "--fresh", "--json"])
    assert json.loads(manifest.stdout) == open_shards(folder / "out").manifest
    resolved = CliRunner().invoke(app, [*run, "--dry-run"])
    assert json.loads(resolved.stdout)["tokenizer"] == str(tokenizer)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_an_interrupt_does_not_reach_workers_not_even_while_they_begin() -> None:
    def children() -> set[int]:
        return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}

    before, done = children(), threading.Event()

    def interrupt() -> None:
        while not done.wait(0.01):
            for pid in children() - before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with engine("local", 2) as runner:
            assert sorted(runner.map(abs, [-1, -2, -3])) == [1, 2, 3]
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_while_workers_begin_is_one_sentence(folder: Path) -> None:
    made = folder / "recipe.yaml"
    made.write_text(f"name: 시험\nsources:\n- {{name: 가, paths: [{folder / '가'}], licence: CC0-1.0, origin: 시험}}\n",
                    encoding="utf-8")
    code = "from dokja.cli import main; main()"
    running = subprocess.Popen([sys.executable, "-c", code, "build", "corpus", str(made), "--out", str(folder / "out"),
                                "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while running.poll() is None and len(children.read_text().split()) < 2:
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to all of them
    _, told = running.communicate(timeout=60)
    assert (running.returncode, told) == (130, f"interrupted: the same command goes on from what is done in "
                                               f"{folder / 'out'}\n")


@pytest.mark.slow
def test_ray_makes_the_same_corpus(folder: Path, tokenizer: Path) -> None:
    pytest.importorskip("ray")
    here = build(recipe(folder, tokenizer=str(tokenizer)), folder / "here")
    there = build(recipe(folder, tokenizer=str(tokenizer)), folder / "there", engine_name="ray", workers=2)
    assert contents(there.path) == contents(here.path)
    (folder / "가" / "broken.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DokjaError, match="is not JSON"):
        build(recipe(folder), folder / "broken", engine_name="ray", workers=2)
