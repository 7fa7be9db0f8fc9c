"""Speed and quality of the corpus steps beside datatrove's: `make bench-corpus`.

Speed: megabytes of UTF-8 a second on one core (processor time, medians of interleaved rounds) of four steps that both
have: quality and repetition filters, personal data, MinHash signatures, contamination by n-grams. datatrove runs with
its default tokenizer of words (spaCy's English) and with the one that it has for Korean (kiwipiepy); the faster of the
two is the one to beat. Its language filter downloads a model and is left out on both sides.

Quality: near-duplicates on planted truth, clean prose that survives the default filters, junk that does not, personal
data that is masked, on the fixtures of the tests. The last lines are one a bar.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "serving"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "build" / "corpus"))
import personal
import planted
from bars import Bar, at_least

HERE = Path(__file__).parent
STEPS = ("quality", "personal data", "near-duplicates", "contamination")
KOREAN = "datatrove, Korean tokenizer"
LANGUAGES = {"datatrove": "eng_Latn", KOREAN: "kor_Hang"}


class Worker:
    """A process that has the texts and answers one request at a time."""

    def __init__(self, python: Path | str, script: str, language: str, files: Path) -> None:
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [str(python), str(HERE / "corpus_peers" / script), language, str(files / "texts.json"),
             str(files / "items.json")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | single,
        )  # fmt: skip

    def ask(self, do: str, **options: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **options}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"a worker ended with {self._process.wait()}; what it said stands above")
        return json.loads(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def texts(folder: Path, megabytes: float) -> tuple[list[str], str]:
    """Korean texts of so many megabytes: statutes and documentation where they are at hand, else the generator's."""
    files = sorted(folder.glob("*.jsonl.xz")) if folder.is_dir() else []
    found: list[str] = []
    for path in files:
        size = 0
        with lzma.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                text = json.loads(line).get("text") or ""
                if len(text) > 200:
                    found.append(text)
                    size += len(text.encode())
                if size > 1e6 * megabytes / (len(files) - 1):  # the file of conversations has no texts
                    break
    if found:
        return found, "statutes and documentation"
    return planted.prose(1, int(megabytes * 600), 600), "the generator's prose"


def speed(workers: dict[str, Worker], sample: list[str], rounds: int) -> tuple[dict[str, Any], list[Bar]]:
    """Megabytes a second of each step, and of all four one after another."""
    size = sum(len(text.encode()) for text in sample) / 1e6
    taken: dict[str, dict[str, list[float]]] = {name: {step: [] for step in STEPS} for name in workers}
    for turn in range(rounds):
        for step in STEPS:
            for name, worker in workers.items():
                if turn and name == KOREAN:  # it takes minutes
                    continue
                taken[name][step].append(worker.ask("step", name=step)["seconds"])
    languages = [workers["dokja"].ask("step", name="language")["seconds"] for _ in range(rounds)]
    rates = {}
    for name, steps in taken.items():
        medians = {step: statistics.median(found) for step, found in steps.items()}
        rates[name] = {step: size / second for step, second in medians.items()}
        rates[name]["all four"] = size / sum(medians.values())
    rates["dokja"]["language"] = size / statistics.median(languages)
    print(f"\nMB/s on one core, {size:.1f} MB in {len(sample):,} documents")
    print(f"{'':30s}" + "".join(f"{step:>17s}" for step in (*STEPS, "all four")))
    for name, found in rates.items():
        print(f"{name:30s}" + "".join(f"{found[step]:17.2f}" for step in (*STEPS, "all four")))
    print(f"language, ours alone: {rates['dokja']['language']:.1f} MB/s")
    peers = [found["all four"] for name, found in rates.items() if name != "dokja"]
    ratio = rates["dokja"]["all four"] / max(peers) if peers else float("nan")
    return rates, [at_least("corpus MB/s a core, times datatrove", ratio, 2)]


def duplicates(workers: dict[str, Worker], count: int) -> tuple[dict[str, Any], list[Bar]]:
    """Recall and precision on planted truth."""
    from dokja.build.corpus.dedup import DedupConfig, NearDuplicates

    truth = planted.near_duplicates(0, planted.prose(11, count, 700), planted.rules(5, count // 2))
    with tempfile.TemporaryDirectory() as folder:
        near = NearDuplicates(DedupConfig(), Path(folder))
        for key, text in truth.documents.items():
            near.add(key, text)
        dropped = {"dokja": set(near.duplicates())}
    rows = list(truth.documents.values())
    for name, worker in workers.items():
        if name == "datatrove":
            dropped[name] = set(worker.ask("duplicates", texts=rows))
    print(f"\nnear-duplicates: {len(truth.copies):,} planted among {len(rows):,} documents")
    figures: dict[str, Any] = {}
    kinds = Counter(how for _, how in truth.copies.values())
    for name, keys in dropped.items():
        right = keys & truth.copies.keys()
        by_kind = Counter(truth.copies[key][1] for key in right)
        figures[name] = {"recall": len(right) / len(truth.copies), "precision": len(right) / max(1, len(keys)),
                         "recall by kind": {kind: by_kind[kind] / kinds[kind] for kind in sorted(kinds)}}  # fmt: skip
        print(f"{name:30s}recall {figures[name]['recall']:.4f}  precision {figures[name]['precision']:.4f}")
    return figures, [at_least("near-duplicate recall", figures["dokja"]["recall"], 0.95),
                     at_least("near-duplicate precision", figures["dokja"]["precision"], 0.99)]  # fmt: skip


def filters(workers: dict[str, Worker]) -> tuple[dict[str, Any], list[Bar]]:
    """Clean prose that is kept, by hand and by the generator, and junk that is dropped."""
    from dokja.build.corpus.quality import QualityConfig, reason

    config = QualityConfig()
    prose = {"by hand": [text for _, text in planted.paragraphs()], "generated": planted.prose(3, 400, 600)}
    figures: dict[str, Any] = {"dokja": {name: sum(reason(text, config) is None for text in found) / len(found)
                                         for name, found in prose.items()}}  # fmt: skip
    for name, worker in workers.items():
        if name == "datatrove":
            figures[name] = {kind: worker.ask("survival", texts=found) for kind, found in prose.items()}
    junk = planted.fixtures(1)
    figures["junk dropped"] = sum(reason(text, config) is not None for _, text in junk) / len(junk)
    print(f"\nclean prose that survives, {len(prose['by hand'])} texts by hand and {len(prose['generated'])} generated")
    for name, found in figures.items():
        print(f"{name:30s}{json.dumps(found, ensure_ascii=False)}")
    whole = [text for found in prose.values() for text in found]
    kept = sum(reason(text, config) is None for text in whole) / len(whole)
    return figures, [at_least("clean prose kept", kept, 0.95),
                     at_least("clean prose by hand kept", figures["dokja"]["by hand"], 0.95),
                     at_least("planted junk dropped", figures["junk dropped"], 0.95)]  # fmt: skip


def personal_data(workers: dict[str, Worker], sample: list[str]) -> tuple[dict[str, Any], list[Bar]]:
    """What is masked of the fixture, and what is masked in published text, which has hardly any personal data."""
    from dokja.build.corpus.redact import redact

    cases = [case for seed in range(10) for case in personal.cases(seed)]
    masked = {"dokja": [redact(case.text)[0] for case in cases]}
    if "datatrove" in workers:
        masked["datatrove"] = workers["datatrove"].ask("masked", texts=[case.text for case in cases])
    figures: dict[str, Any] = {name: 1 - sum(map(personal.left_over, cases, found)) / len(cases)
                               for name, found in masked.items()}  # fmt: skip
    found: Counter[str] = Counter()
    for text in sample:
        found.update(redact(text)[1])
    size = sum(len(text.encode()) for text in sample) / 1e6
    figures["masked in published text, a MB"] = {kind: count / size for kind, count in sorted(found.items())}
    figures["harmless masked"] = sum(redact(text)[0] != text for text in personal.HARMLESS)
    print(f"\npersonal data: {len(cases):,} cases")
    for name, value in figures.items():
        print(f"{name:32s}{json.dumps(value, ensure_ascii=False)}")
    return figures, [at_least("personal data masked", figures["dokja"], 1)]


def main() -> None:
    """Measure, print the tables and the bars, and write them as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=1, help="of text for speed; 1 takes about two minutes")
    parser.add_argument("--text", type=Path, default=Path("../shared/corpus"), help="folder of .jsonl.xz")
    parser.add_argument("--peers", type=Path, default=HERE / "building" / "peers", help="their environments")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    sample, what = texts(arguments.text, arguments.megabytes)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    done: dict[str, Any] = {
        "machine": {"dokja": commit.strip(), "python": platform.python_version(), "cores": os.cpu_count(),
                    "processor": platform.processor() or platform.machine(), "text": what}
    }  # fmt: skip
    bars: list[Bar] = []
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        (files / "texts.json").write_text(json.dumps(sample, ensure_ascii=False), encoding="utf-8")
        items = planted.prose(77, 2_000, 300)
        (files / "items.json").write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
        workers = {"dokja": Worker(sys.executable, "dokja_worker.py", "", files)}
        python = arguments.peers / "datatrove" / "bin" / "python"
        if python.exists():
            for name, language in LANGUAGES.items():
                workers[name] = Worker(python, "datatrove_worker.py", language, files)
        else:
            print("datatrove is not installed (`make bench-peers-build`), and is left out")
        done["versions"] = {name: worker.ask("versions") for name, worker in workers.items()}
        print(" ".join(f"{name} {value}" for name, value in (done["machine"] | done["versions"]).items()))
        for name, found in (
            ("MB/s", speed(workers, sample, arguments.rounds)),
            ("near-duplicates", duplicates(workers, 400)),
            ("clean prose", filters(workers)),
            ("personal data", personal_data(workers, sample)),
        ):
            done[name] = found[0]
            bars += found[1]
        for worker in workers.values():
            worker.close()
    done["bars"] = [bar._asdict() for bar in bars]
    if arguments.out:
        arguments.out.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print()
    for bar in bars:
        print(bar)


if __name__ == "__main__":
    main()
