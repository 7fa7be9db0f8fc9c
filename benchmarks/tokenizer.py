"""Tokens per character of our tokenizers beside published ones, on Korean held out and unseen: `make bench-tokenizer`.

Every tokenizer is trained by what `dokja build tokenizer` runs, on nineteen of twenty documents (by hash) of every
Korean source but one; measured is the rest of them, and all of the source that was left out. English and code come from
this environment: training takes installed packages (their descriptions, docstrings and source), measuring the
standard library. Plain BPE and superwords at the same sizes show what superwords bring; more sources are left out in
turn; --morphemes adds one that begins inside morphemes. What was trained is kept in --files and taken from there by the
next run with the same settings. The last lines are one a bar.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import platform
import pydoc_data.topics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import psutil

from dokja.build.document import Document
from dokja.build.read import Texts
from dokja.build.tokenizer.compare import (
    PUBLISHED,
    Contestant,
    Measured,
    aligned,
    as_json,
    contestant,
    fewer,
    measure,
    table,
)
from dokja.build.tokenizer.curriculum import Plan, train
from dokja.build.tokenizer.report import save
from dokja.build.tokenizer.sources import Sample, Source, draw
from dokja.models.checkpoint.kept import TOKENIZER, read_tokenizer

sys.path.insert(0, str(Path(__file__).parent / "serving"))
from bars import Bar, at_least

UNSEEN = "react-docs-ko"  # the domain of the bars
STATUTES = "kr-statutes"
# Of the sample; what is left out leaves its share to the rest, and the other sources share what is left by size.
SHARES = {STATUTES: 0.30, "songys-chatbot-qa": 0.05, "english": 0.10, "code": 0.10}
FEWER = 0.40
MEASURED = 2_000_000  # bytes of each text


@dataclass(frozen=True)
class Choice:
    """A tokenizer to train: its plan, and the Korean source that it never sees."""

    name: str
    plan: Plan
    without: str = UNSEEN


def main() -> None:
    """Train, compare, print the tables and the bars, and write them as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, default=Path("../shared/corpus"), help="folder of Korean .jsonl.xz files")
    parser.add_argument("--sample", type=float, default=1.2e8, help="bytes to train on")
    parser.add_argument("--vocab", default="65536,131072", help="sizes; the bars are of the largest")
    parser.add_argument("--leave-out", default="python-docs-ko", help="further unseen sources")
    parser.add_argument("--morphemes", type=float, default=0, help="share that one more learns inside morphemes")
    parser.add_argument("--files", type=Path, default=Path(tempfile.gettempdir()) / "dokja-bench-tokenizer")
    parser.add_argument("--other", action="append", default=[], help="a tokenizer.json to compare with; repeatable")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    if not arguments.text.is_dir():
        parser.error(f"{arguments.text} is not there: give a folder of Korean text with --text")
    sizes = [int(size) for size in arguments.vocab.split(",")]
    choices = [Choice(f"{kind} {size // 1024}k", Plan(size, superwords=share))
               for size in sorted(sizes, reverse=True) for kind, share in (("words", 0.0), ("superwords", 0.25))]
    choices += [Choice(f"superwords {max(sizes) // 1024}k, no {name}", Plan(max(sizes)), name)
                for name in arguments.leave_out.split(",") if name]
    if arguments.morphemes:
        choices.append(Choice(f"morphemes {min(sizes) // 1024}k", Plan(min(sizes), morphemes=arguments.morphemes)))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    machine = {"dokja": commit.strip(), "tokenizers": version("tokenizers"), "python": platform.python_version(),
               "quicktok-v1": installed("quicktok-v1") or "not installed", "cores": psutil.cpu_count(),
               "sample": int(arguments.sample)}
    print(" ".join(f"{name} {value}" for name, value in machine.items()))

    corpus = Corpus(arguments.text)
    reports = {choice.name: trained(choice, corpus, arguments) for choice in choices}
    for name, report in reports.items():
        print(f"{name}: {report['vocab']:,} tokens from {report['sample_bytes'] / 1e6:.0f} MB in "
              f"{report['seconds']:.0f} s, {report['unused']:,} unused")
    peers = [contestant(name) for name in PUBLISHED] if installed("quicktok-v1") else []
    if not peers:
        print("quicktok-v1 is not installed: nothing published to compare with (`pip install dokja[bench]`)")
    peers += [contestant(path) for path in arguments.other]
    ours = [named(choice.name, contestant(str(folder(choice, arguments)))) for choice in choices]
    rows: list[Measured] = []
    for unseen in dict.fromkeys(choice.without for choice in choices):
        group = [one for one, choice in zip(ours, choices, strict=True) if choice.without == unseen]
        found = measure([*peers, *group], corpus.measured(unseen))
        print(f"\ntokens per character, and how many more or fewer than o200k_base; unseen is {unseen}")
        print("\n".join(aligned(table(found, "o200k_base"))))
        rows += [Measured(**{**asdict(row), "text": f"{row.text} ({unseen})" if row.text == "unseen" else row.text})
                 for row in found if row.tokenizer not in PUBLISHED or row.text == "unseen" or unseen == UNSEEN]
    bars = [] if not peers else bars_of(rows, choices, max(sizes))
    print()
    for bar in bars:
        print(bar)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({
            "machine": machine, "shares": SHARES, "trained": reports, "rows": as_json(rows, "o200k_base"),
            "bars": [bar._asdict() for bar in bars]}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def bars_of(rows: list[Measured], choices: list[Choice], size: int) -> list[Bar]:
    """Fewer tokens than o200k_base on both kinds of Korean, every text back, English and code not lost."""
    saved = fewer(rows, "o200k_base")
    best = f"superwords {size // 1024}k"
    ours = {choice.name for choice in choices}
    return [
        at_least(f"tokens fewer than o200k_base, held-out statutes, {best}", saved[best, "statutes"], FEWER),
        at_least(f"tokens fewer than o200k_base, unseen {UNSEEN}, {best}", saved[best, f"unseen ({UNSEEN})"], FEWER),
        at_least(f"tokens fewer than o200k_base, English, {best}", saved[best, "english"], 0),
        at_least(f"tokens fewer than o200k_base, code, {best}", saved[best, "code"], 0),
        at_least("share of ours that give every text back", sum(row.lossless for row in rows if row.tokenizer in ours)
                 / sum(row.tokenizer in ours for row in rows), 1),
    ]


class Corpus:
    """The Korean sources of a folder, and English and code of this environment; each cut by hash into two parts."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.jsonl.xz"))}
        self._code = [(path, text) for path, text in _package_files()]

    def training(self, without: str) -> list[Source]:
        """What is trained on: every source but one, without the documents that are measured."""
        made = [Source(name, Reread(lambda path=path: (one for one in Texts([path]) if not held(one.content))))
                for name, path in self.files.items() if name != without]
        code = [Document("code", text) for _, text in self._code]
        prose = [Document("english", text) for text in _english(self._code)]
        return [*made, Source("english", prose), Source("code", code)]

    @lru_cache(1)  # noqa: B019 (it lives as long as the run)
    def sample(self, without: str, size: int) -> Sample:
        """About `size` bytes to train on."""
        sources = self.training(without)
        names = {source.name for source in sources}
        return draw(sources, size, {name: share for name, share in SHARES.items() if name in names})

    def measured(self, unseen: str) -> dict[str, list[str]]:
        """Held-out parts, the unseen source, English and code: about MEASURED bytes each."""
        def part(path: Path, all_of_it: bool) -> list[str]:
            found, size = [], 0
            for one in Texts([path]):
                if all_of_it or held(one.content):
                    found.append(one.content)
                    size += len(one.content.encode())
                    if size >= MEASURED:
                        break
            return found

        docs = [name for name in self.files if name.startswith("ms-")]
        return {"statutes": part(self.files[STATUTES], False), "unseen": part(self.files[unseen], True),
                "ms-docs": [text for name in docs for text in part(self.files[name], False)],
                "english": list(pydoc_data.topics.topics.values()), "code": list(_standard_library())}


class Reread:
    """Documents that can be read again and again."""

    def __init__(self, read: Callable[[], Iterator[Document]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Document]:
        return self._read()


def held(text: str) -> bool:
    """One document of twenty, by its hash."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 20 == 0


def trained(choice: Choice, corpus: Corpus, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report of a tokenizer, which is trained if it is not there; its words are those of the largest plan."""
    path = folder(choice, arguments) / "tokenizer_report.json"
    if not path.exists():
        begun = time.perf_counter()
        sample = corpus.sample(choice.without, int(arguments.sample))
        largest = Choice("", Plan(max(map(int, arguments.vocab.split(","))), superwords=0.0), choice.without)
        file = folder(largest, arguments) / TOKENIZER
        words = read_tokenizer(file) if file.exists() and not choice.plan.morphemes else None
        save(path.parent, train(sample, choice.plan, words=words), sample, choice.plan, None)
        print(f"trained {choice.name} in {time.perf_counter() - begun:.0f} s, reading included", flush=True)
    report = json.loads(path.read_text(encoding="utf-8"))
    del report["unused_tokens"]  # text of the corpus
    return report


def folder(choice: Choice, arguments: argparse.Namespace) -> Path:
    """Where a tokenizer is kept: named by all that it depends on but the text."""
    what = json.dumps([asdict(choice.plan), choice.without, arguments.sample, SHARES, version("tokenizers")])
    return arguments.files / hashlib.sha256(what.encode()).hexdigest()[:16]


def named(name: str, one: Contestant) -> Contestant:
    """The contestant under another name."""
    return Contestant(name, one.vocab, one.encode, one.decode, one.lone)


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    return next((one.version for one in distributions() if (one.name or "").lower() == package), None)


def _package_files(limit: int = 25_000_000) -> Iterator[tuple[Path, str]]:
    """Python files of installed packages, in the order of their hashes, up to a number of characters."""
    site = Path(sysconfig.get_paths()["purelib"])
    size = 0

    def order(path: Path) -> bytes:
        return hashlib.sha256(str(path.relative_to(site)).encode()).digest()

    for path in sorted(site.rglob("*.py"), key=order):
        text = path.read_text(encoding="utf-8", errors="ignore")
        if 500 < len(text) < 200_000:
            size += len(text)
            yield path, text
            if size >= limit:
                return


def _english(files: list[tuple[Path, str]]) -> Iterator[str]:
    """Docstrings of the files, and the packages' descriptions."""
    for _, text in files:
        try:
            nodes = ast.walk(ast.parse(text))
        except (SyntaxError, ValueError):
            continue
        found = [ast.get_docstring(node) or "" for node in nodes
                 if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
        if prose := "\n\n".join(one for one in found if len(one) > 100):
            yield prose
    yield from (one for one in (str(package.metadata.get_payload()) for package in distributions()) if len(one) > 500)


def _standard_library() -> Iterator[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in ("argparse", "asyncio/base_events", "calendar", "difflib", "http/client", "mailbox", "statistics",
                 "tarfile", "turtle", "zipfile"):
        path = library / f"{name}.py"
        if path.exists():
            yield path.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
