"""What the steps did, for people (report.md) and programs (report.json), and every benchmark hit (hits.jsonl)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .recipe import Recipe
from .redact import redact
from .tally import Tally

_STEPS = ("read", "clean", "language", "quality", "exact", "near", "decontaminate")


def write_report(folder: Path, recipe: Recipe, manifest: dict[str, Any], tally: Tally, buckets: list[dict[str, Any]],
                 times: dict[str, float]) -> None:
    """Write report.md, report.json and hits.jsonl. Personal data in samples is masked."""
    items: Counter[tuple[str, int]] = Counter()
    hits = often = 0
    with (folder / "hits.jsonl").open("w", encoding="utf-8") as file:
        for bucket in buckets:
            for source, document, benchmark, item, ngram, position, common in bucket["hits"]:
                row = {"source": source, "document": document, "benchmark": benchmark, "item": item, "ngram": ngram,
                       "position": position, "common": common}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                hits += 1
                often += common
                items[benchmark, item] += not common
    per_benchmark = Counter(benchmark for (benchmark, _), count in items.items() if count)
    samples = {name: {lot: redact(excerpt)[0] for lot, excerpt in held.items()}
               for name, held in Tally.from_dict(tally.to_dict(), tally.keep).samples.items()}
    data = {
        "name": recipe.name,
        "sources": {name: {key: source[key] for key in ("in", "out", "heldout", "share", "dropped", "changed")}
                    for name, source in manifest["sources"].items()},
        "languages": {source.name: {language: count.documents for language, count in
                                    tally.of(source.name, "language").items()} for source in recipe.sources},
        "benchmark_hits": {"hits": hits, "common": often, "items": dict(sorted(per_benchmark.items()))},
        "samples": [{"source": source, "what": what, "reason": reason, "texts": [held[lot] for lot in sorted(held)]}
                    for (source, what, reason), held in sorted(samples.items())],
        "seconds": {name: round(seconds, 2) for name, seconds in times.items()},
    }
    (folder / "report.json").write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(_markdown(data), encoding="utf-8")


def _markdown(data: dict[str, Any]) -> str:
    parts = [f"# {data['name']}\n", table(data["sources"])]
    for title, what in (("Dropped", "dropped"), ("Changed", "changed")):
        rows = [f"| {name} | {step} | {reason} | {count['documents'] if what == 'dropped' else count:,} |"
                for name, source in data["sources"].items() for step, reasons in source[what].items()
                for reason, count in reasons.items()]
        if rows:
            header = "| source | step | reason | documents |\n|---|---|---|---:|\n"
            parts.append(f"\n## {title}\n\n{header}" + "\n".join(rows))
    if data["benchmark_hits"]["hits"]:
        rows = [f"| {benchmark} | {items:,} |" for benchmark, items in data["benchmark_hits"]["items"].items()]
        found = data["benchmark_hits"]
        parts.append(f"\n## Benchmarks\n\n{found['hits']:,} n-grams are shared with benchmarks, "
                     f"{found['common']:,} of them common language; each is in hits.jsonl."
                     "\n\n| benchmark | items |\n|---|---:|\n" + "\n".join(rows))
    if data["samples"]:
        parts.append("\n## Samples\n\nA few documents of each kind, chosen by hash, personal data masked.")
        for sample in data["samples"]:
            texts = "\n".join(f"    {line}" for text in sample["texts"] for line in [*text.split("\n"), "", "---", ""])
            parts.append(f"\n### {sample['source']}, {sample['what']}: {sample['reason']}\n\n{texts}")
    return "\n".join(parts).rstrip() + "\n"


def table(sources: dict[str, Any]) -> str:
    """Documents and bytes of every source on their way through the steps, as Markdown."""
    steps = [step for step in _STEPS if any(step in source["dropped"] for source in sources.values())]
    header = ["source", "documents", "MB", *steps, "kept", "held out", "MB kept", "tokens", "share"]
    rows = []
    for name, source in sources.items():
        dropped = [sum(count["documents"] for count in source["dropped"].get(step, {}).values()) for step in steps]
        rows.append([name, f"{source['in']['documents']:,}", f"{source['in']['bytes'] / 1e6:.1f}",
                     *(f"{number:,}" for number in dropped), f"{source['out']['documents']:,}",
                     f"{source['heldout']['documents']:,}", f"{source['out']['bytes'] / 1e6:.1f}",
                     f"{source['out']['tokens']:,}", f"{source['share']:.1%}"])
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
