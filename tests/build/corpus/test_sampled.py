"""The corpus of a season: split, sample, duplicates, determinism, and what is left on disk when things go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dokja.build.corpus import Corpus, build_corpus, open_corpus
from dokja.build.document import Document, Turn
from dokja.build.passages import cut, cut_conversation
from dokja.build.read import Texts
from dokja.build.sample import CONVERSATION, PASSAGE, Sampler
from dokja.errors import DokjaError

SHARED = Path(__file__).parents[3].parent / "shared" / "corpus"
SYLLABLES = [chr(0xAC00 + 97 * i) for i in range(100)]
BUDGETS = {"train_bytes": 200_000, "heldout_bytes": 20_000, "seed": 7, "description": "시험"}


def prose(rng: random.Random, characters: int) -> str:
    text: list[str] = []
    size = 0
    while size < characters:
        pause = rng.choice([" ", " ", " ", " ", ". ", "\n", "\n\n"])
        word = "".join(rng.choices(SYLLABLES, k=rng.randint(1, 5))) + pause
        text.append(word)
        size += len(word)
    return "".join(text)[:characters].strip() or "글"


def library(documents: int, characters: int, seed: int = 0) -> list[Document]:
    """Documents of varying length, some of them conversations, from three sources."""
    rng = random.Random(seed)
    made = []
    for number in range(documents):
        source = f"source {number % 3}"
        if number % 5 == 0:
            turns = (Turn("user", prose(rng, 30)), Turn("assistant", prose(rng, 60)))
            made.append(Document(source, turns=turns))
        else:
            made.append(Document(source, prose(rng, rng.randint(characters // 4, characters))))
    return made


def files(corpus: Corpus) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(corpus.path.iterdir())}


def total(corpus: Corpus, count: str) -> int:
    return sum(source[count] for source in corpus.manifest["sources"].values())


# Cutting.


@pytest.mark.parametrize("seed", range(5))
def test_cutting_loses_nothing_and_keeps_to_the_limit(seed: int) -> None:
    rng = random.Random(seed)
    text = prose(rng, 20_000)
    parts = list(cut(text, 500))
    assert "".join(parts) == text
    assert all(0 < len(part) <= 500 for part in parts)
    assert len(parts) < 20_000 / 125


def test_cutting_prefers_paragraphs_then_lines_then_sentences_then_words() -> None:
    text = "가. 나 다\n\n라. 마 바\n사. 아 자. 차 카" + "타" * 100
    for boundary in ("다\n\n", "바\n", "자. ", "차 "):
        first, *_ = cut("파" * 40 + text, 128)
        assert first.endswith(boundary)
        # Without this boundary, the next kind is the best that is left.
        text = text.replace(boundary, boundary[0] + "하하") if boundary != "자. " else text.replace(". ", "하하")
    assert [len(part) for part in cut("파" * 300, 128)] == [128, 128, 44]


def test_cutting_never_parts_a_syllable() -> None:
    # 한 spelt out in conjoining jamo, after an odd number of letters so that no limit falls between syllables.
    text = "a" + "\u1112\u1161\u11ab" * 1000
    parts = list(cut(text, 128))
    assert "".join(parts) == text
    assert all(part[0] in "a\u1112" for part in parts)
    assert "".join(cut("e" + "\u0301" * 1000, 128)) == "e" + "\u0301" * 1000  # never ends, still cut
    with pytest.raises(ValueError, match="too short"):
        list(cut("가", 5))


def test_cutting_conversations() -> None:
    turns = tuple(Turn("user" if i % 2 == 0 else "assistant", str(i) * 100) for i in range(10))
    parts = list(cut_conversation(turns, 450))
    assert [turn for part in parts for turn in part] == list(turns)
    assert [len(part) for part in parts] == [4, 4, 2]
    assert list(cut_conversation(turns, 50)) == [turns[i : i + 2] for i in range(0, 10, 2)]
    assert list(cut_conversation(turns, 5000)) == [turns]


# What is kept.


def test_a_corpus_within_its_budgets_keeps_everything(tmp_path: Path) -> None:
    documents = library(150, 1500)
    corpus = build_corpus(documents, tmp_path / "c", **{**BUDGETS, "train_bytes": 10**9, "heldout_bytes": 10**8})
    train, heldout = list(corpus.train()), corpus.heldout()
    assert Counter(train + heldout) == Counter(documents)
    bytes_of = [sum(len(document.content.encode()) for document in part) for part in (train, heldout)]
    assert 0.05 <= bytes_of[1] / sum(bytes_of) < 0.12
    assert total(corpus, "train_bytes") == bytes_of[0]
    assert total(corpus, "heldout_bytes") == bytes_of[1]
    assert total(corpus, "documents") == 150
    assert total(corpus, "bytes") == sum(bytes_of)
    assert total(corpus, "heldout_documents") == len(heldout)


def test_budgets_are_filled_and_not_exceeded(tmp_path: Path) -> None:
    corpus = build_corpus(library(1500, 1500), tmp_path / "c", **BUDGETS)
    assert 190_000 < total(corpus, "train_bytes") <= 200_000
    assert 14_000 < total(corpus, "heldout_bytes") <= 20_000
    assert total(corpus, "train_bytes") == sum(len(document.content.encode()) for document in corpus.train())


@pytest.mark.parametrize("budget", [60_000, 200_000, 10**7])
def test_the_sample_is_that_of_the_obvious_implementation(budget: int) -> None:
    documents = library(400, 6000, seed=3)
    documents += documents[::7]
    sampler = Sampler(5, budget, 30_000)
    everything = Sampler(5, 10**9, 10**9)
    for document in documents:
        sampler.add(document)
        everything.add(document)
    pairs = ((sampler.train, everything.train, budget), (sampler.heldout, everything.heldout, 30_000))
    for sample, whole, limit in pairs:
        expected, size = [], 0
        for key in sorted(whole.kept):
            size += whole.kept[key].size
            if size > limit:
                break
            expected.append(whole.kept[key].document)
        assert list(sample.in_order()) == expected


def test_no_passage_of_a_heldout_document_is_trained_on(tmp_path: Path) -> None:
    rng = random.Random(1)
    documents = [Document("긴 글", f"{number} 번째.\n\n" + prose(rng, 9000)) for number in range(60)]
    # A passage that many documents share must not be in both sets either.
    shared = prose(rng, 1500)
    documents += [Document("머리말", shared + "\n\n" + prose(rng, 1900).replace("\n", " ")) for _ in range(60)]
    for seed in range(5):
        corpus = build_corpus(documents, tmp_path / "c", **{**BUDGETS, "train_bytes": 10**6, "seed": seed})
        train = [document.text for document in corpus.train()]
        heldout = {document.text for document in corpus.heldout()}
        assert not heldout & set(train)
        assert all(len(text) <= PASSAGE for text in train)
        origins = [{number for number, whole in enumerate(documents) if text in whole.text} for text in heldout]
        for document in {origin.pop() for origin in origins if len(origin) == 1}:
            assert not [text for text in train if text in documents[document].text and text != shared]
        assert len(train) == len(set(train))


def test_duplicates_are_dropped_and_counted_per_source(tmp_path: Path) -> None:
    documents = library(200, 1500)
    again = [Document("zz copy", document.text, document.turns) for document in documents[:50]]
    alone = build_corpus(documents, tmp_path / "alone", **BUDGETS)
    both = build_corpus([*again, *documents, *documents[:20]], tmp_path / "both", **BUDGETS)
    assert (both.path / "train.jsonl").read_bytes() == (alone.path / "train.jsonl").read_bytes()
    assert (both.path / "heldout.jsonl").read_bytes() == (alone.path / "heldout.jsonl").read_bytes()
    kept = {document.content for document in (*both.train(), *both.heldout())}
    assert both.manifest["sources"]["zz copy"]["duplicates"] == len([d for d in again if d.content in kept])
    assert both.manifest["sources"]["zz copy"]["train_documents"] == 0
    assert total(both, "duplicates") == len([d for d in (*again, *documents[:20]) if d.content in kept])


def test_conversations_that_read_alike_are_not_duplicates() -> None:
    sampler = Sampler(1, 10**6, 10**6)
    for turns in ((Turn("user", "가\n나"), Turn("assistant", "다")), (Turn("user", "가"), Turn("assistant", "나\n다"))):
        sampler.add(Document("대화", turns=turns))
    sampler.add(Document("글", "가\n나\n다"))
    assert len(sampler.train.kept) + len(sampler.heldout.kept) == 3


def test_the_sample_is_uniform_over_passages() -> None:
    """Each of 300 documents is kept as often as any other over 300 seeds (a budget of a third)."""
    rng = random.Random(2)
    documents = [Document("글", prose(rng, 100)) for _ in range(300)]
    size = sum(len(document.text.encode()) for document in documents)
    kept: Counter[str] = Counter()
    for seed in range(300):
        sampler = Sampler(seed, size // 3, size // 3)
        for document in documents:
            sampler.add(document)
        kept.update(document.text for document in sampler.train.in_order())
    counts = [kept[document.text] for document in documents]
    expected = sum(counts) / 300
    share = expected / 300
    chi_square = sum((count - expected) ** 2 for count in counts) / (300 * share * (1 - share))
    assert 300 - 4 * 600**0.5 < chi_square < 300 + 4 * 600**0.5


def test_an_endless_exchange_is_skipped_and_counted(tmp_path: Path) -> None:
    long = Document("source 0", turns=(Turn("user", "질문"), Turn("assistant", "답" * CONVERSATION)))
    reader = {"source 1": {"empty text": 4}, "딴 글": {"empty text": 1}}
    corpus = build_corpus([long, *library(200, 1500)], tmp_path / "c", **BUDGETS, skipped=reader)
    sources = corpus.manifest["sources"]
    assert sources["source 0"]["skipped"] == {f"an exchange over {CONVERSATION:,} characters": 1}
    assert sources["source 1"]["skipped"] == {"empty text": 4}
    assert sources["딴 글"]["documents"] == 0


def test_progress_counts_bytes(tmp_path: Path) -> None:
    seen: list[int] = []
    corpus = build_corpus(library(1500, 1500), tmp_path / "c", **BUDGETS, progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) >= 3
    assert seen[-1] == total(corpus, "bytes")


# Determinism.


def test_order_of_documents_and_hash_seed_do_not_matter(tmp_path: Path) -> None:
    documents = library(600, 3000) + library(50, 3000)
    first = files(build_corpus(documents, tmp_path / "a", **BUDGETS))
    random.Random(1).shuffle(documents)
    assert files(build_corpus(iter(documents), tmp_path / "b", **BUDGETS)) == first
    assert files(build_corpus(documents, tmp_path / "b", **{**BUDGETS, "seed": 8})) != first
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_sampled import *;"
        "build_corpus(library(600, 3000) + library(50, 3000), Path(sys.argv[2]), **BUDGETS)"
    )
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(out)], env=environment, check=True)
        assert {path.name: path.read_bytes() for path in sorted(out.iterdir())} == first


def test_the_files_are_in_random_order(tmp_path: Path) -> None:
    rng = random.Random(4)
    documents = [Document("앞" if number < 500 else "뒤", prose(rng, 200)) for number in range(1000)]
    train = list(build_corpus(documents, tmp_path / "c", **{**BUDGETS, "train_bytes": 10**7}).train())
    front = sum(document.source == "앞" for document in train[: len(train) // 2])
    assert 0.4 < front / (len(train) // 2) < 0.6


def test_the_files_can_be_read_as_text_again(tmp_path: Path) -> None:
    corpus = build_corpus(library(300, 1500), tmp_path / "c", **BUDGETS)
    assert [d.content for d in Texts([corpus.path / "train.jsonl"])] == [d.content for d in corpus.train()]


# Too little text, and files that are not there or not what they were.


@pytest.mark.parametrize(
    "documents", [[], library(3, 800), [Document("한 권", prose(random.Random(0), 60_000))]], ids=["none", "few", "one"]
)
def test_too_little_text(tmp_path: Path, documents: list[Document]) -> None:
    read = sum(len(document.content.encode()) for document in documents)
    told = rf"{read:,} bytes in {len(documents)} documents .* at least [\d,]+ are needed"
    with pytest.raises(DokjaError, match=told):
        build_corpus(documents, tmp_path / "c", **BUDGETS)
    assert not (tmp_path / "c").exists()
    with pytest.raises(DokjaError, match="ask for more"):
        build_corpus(documents, tmp_path / "c", **{**BUDGETS, "heldout_bytes": 0})


def test_few_long_documents_are_enough(tmp_path: Path) -> None:
    rng = random.Random(0)
    corpus = build_corpus([Document("책", prose(rng, 30_000)) for _ in range(4)], tmp_path / "c", **BUDGETS)
    assert total(corpus, "train_bytes") > 150_000
    assert total(corpus, "heldout_bytes") > 10_000


def test_opening_what_is_not_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match="holds no finished corpus"):
        open_corpus(tmp_path / "none")
    corpus = build_corpus(library(300, 1500), tmp_path / "c", **BUDGETS)
    assert open_corpus(corpus.path) == corpus
    for name in ("train.jsonl", "heldout.jsonl"):
        path = corpus.path / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(DokjaError, match=f"{name} has changed"):
            open_corpus(corpus.path)
        path.unlink()
        with pytest.raises(DokjaError, match=f"{name} cannot be read"):
            open_corpus(corpus.path)
        path.write_bytes(whole)
    manifest = corpus.path / "manifest.json"
    told = json.loads(manifest.read_text(encoding="utf-8"))
    assert told["files"]["train.jsonl"]["sha256"] == hashlib.sha256(files(corpus)["train.jsonl"]).hexdigest()
    assert told["files"]["train.jsonl"]["bytes"] == len(files(corpus)["train.jsonl"])
    for broken in ("{", "[]", "{}", json.dumps({**told, "files": None})):
        manifest.write_text(broken, encoding="utf-8")
        with pytest.raises(DokjaError, match="not a corpus manifest"):
            open_corpus(corpus.path)
    manifest.write_text(json.dumps({**told, "format": 99}), encoding="utf-8")
    with pytest.raises(DokjaError, match="format 99"):
        open_corpus(corpus.path)


# Interruptions.


@contextlib.contextmanager
def tiny_disk(at: Path) -> Iterator[None]:
    at.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(at)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk of 128 KB cannot be mounted here: " + mounted.stderr.decode().strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounting a tiny disk needs root on Linux")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with tiny_disk(disk):
        with pytest.raises(DokjaError, match=r"No space left on device.*free some space"):
            build_corpus(library(500, 1500), disk / "c", **BUDGETS)
        assert list((disk / "c").iterdir()) == []
        with pytest.raises(DokjaError, match="holds no finished corpus"):
            open_corpus(disk / "c")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("name", ["train.jsonl", "heldout.jsonl", "manifest.json"])
def test_a_disk_that_fills_up_leaves_the_earlier_corpus(tmp_path: Path, name: str) -> None:
    corpus = build_corpus(library(300, 1500), tmp_path / "c", **BUDGETS)
    before = files(corpus)
    (corpus.path / f"{name}.partial").symlink_to("/dev/full")
    with pytest.raises(DokjaError, match="No space left on device"):
        build_corpus(library(300, 1500, seed=9), corpus.path, **BUDGETS)
    assert files(corpus) == before
    assert open_corpus(corpus.path) == corpus


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DokjaError, match="could not be written"):
        build_corpus(library(300, 1500), tmp_path / "file" / "c", **BUDGETS)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", range(5))
def test_a_process_killed_at_any_moment_leaves_no_false_corpus(tmp_path: Path, moment: int) -> None:
    """Killed while the files are written (0) or before the first to third renaming (1-3); 4 runs to its end."""
    out = tmp_path / "c"
    earlier = build_corpus(library(300, 1500), out, **BUDGETS)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import os, signal; from test_sampled import *\n"
        "moment = int(sys.argv[3]); replace, sync, calls = os.replace, os.fsync, []\n"
        "def killing(*a):\n"
        "    calls.append(a)\n"
        "    if len(calls) == moment: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return replace(*a)\n"
        "os.replace = killing\n"
        "if moment == 0: os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_corpus(library(300, 1500, seed=9), Path(sys.argv[2]), **BUDGETS)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(out), str(moment)])
    assert done.returncode == (0 if moment == 4 else -signal.SIGKILL)
    if moment == 0:
        assert open_corpus(out) == earlier
    elif moment < 4:
        with pytest.raises(DokjaError, match="holds no finished corpus"):
            open_corpus(out)
    new = build_corpus(library(300, 1500, seed=9), out, **BUDGETS)
    assert sorted(files(new)) == ["heldout.jsonl", "manifest.json", "train.jsonl"]


# At size.


def peak_of(code: str, *arguments: str) -> float:
    """MiB of resident memory at the peak of a fresh process."""
    code += "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    code = (
        "import sys, random; from pathlib import Path; from dokja.build.corpus import build_corpus;"
        "from dokja.build.document import Document\n"
        "def stream(n):\n"
        "    for i in range(n): yield Document('s', f'{i} ' + chr(0xAC00 + i % 11000) * 1500)\n"
        "build_corpus(stream(int(sys.argv[2])), Path(sys.argv[1]), train_bytes=4 << 20, heldout_bytes=100_000, seed=1,"
        " description='')"
    )
    small, large = (peak_of(code, str(tmp_path / str(count)), str(count)) for count in (5_000, 60_000))
    assert large < small + 8


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared corpus is not here")
def test_the_shared_corpus_within_400_mib(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dokja.build.corpus import build_corpus;"
        "from dokja.build.read import Texts\n"
        "build_corpus(Texts([Path(sys.argv[1])]), Path(sys.argv[2]), train_bytes=16 << 20, heldout_bytes=300_000,"
        " seed=1, description='')"
    )
    assert peak_of(code, str(SHARED), str(tmp_path / "c")) < 400
    assert 16e6 < total(open_corpus(tmp_path / "c"), "train_bytes") <= 16 << 20
