"""A model's card, written from what its run wrote down; nothing in it is from anywhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DokjaError
from .sinks import read_metrics
from .words import CARD, Lang

THRESHOLD = 1e26  # FLOPs; AI Basic Act (Act No. 20676), article 32, and its decree: one of three conditions together


def read_record(run: Path) -> dict[str, Any]:
    """What run.json says; raises DokjaError where there is no run."""
    try:
        found = json.loads((run / "run.json").read_text(encoding="utf-8"))
        return {"recipe": found["recipe"], "digest": found["digest"], "facts": found["facts"], "data": found["data"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DokjaError(f"{run} is not a run's folder: it needs the run.json of `dokja build train`") from None


def model_card(run: Path, lang: Lang = "en") -> str:
    """The card of a run, in Markdown. Raises DokjaError where there is no run, or none with numbers."""
    record, lines = read_record(run), read_metrics(run)
    steps = [line for line in lines if "loss" in line]
    if not steps:
        raise DokjaError(f"{run} has not taken a step yet: its card needs numbers")
    words, facts, recipe = CARD[lang], record["facts"], record["recipe"]
    last = steps[-1]
    heldout = [line for line in lines if line.get("event") == "evaluation"]
    skipped = sum(line.get("skipped", False) for line in steps)
    spec = facts["spec"]
    rows = [
        (words["architecture"], f"{spec['name']} ({len(spec['layers'])} {words['layers']}, {words['width']} "
                                f"{spec['width']:,}, {words['context']} {spec['context']:,}, {words['vocabulary']} "
                                f"{spec['vocab']:,})"),
        (words["parameters"], f"{facts['parameters']:,}" + (
            f" ({facts['active']:,} {words['active']})" if facts["active"] != facts["parameters"] else "")),
        (words["task"], recipe["task"]["kind"]),
        (words["steps"], f"{last['step']:,} / {facts['steps']:,}" + (f" ({skipped} {words['skipped']})" if skipped
                                                                      else "")),
        (words["tokens"], f"{last['tokens']:,}"),
        (words["compute"], f"{last['flops']:.3g} FLOPs, {last['flops'] / THRESHOLD:.1e} {words['of_threshold']}"),
        (words["last_loss"], f"{last['loss']:.4f} {words['nats']}"),
        (words["heldout"], f"{heldout[-1]['heldout']:.4f} {words['bpb']} ({words['step']} {heldout[-1]['step']:,})"
         if heldout else words["none"]),
        (words["time"], f"{last['seconds'] / 60:,.1f} {words['minutes']}, {facts['threads']} {words['threads']}, "
                        f"{facts['machine']}, {facts['device']}"),
        (words["seed"], str(recipe["train"]["seed"])),
        (words["started"], facts["started"]),
        (words["versions"], ", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
    ]
    origin = words["provenance_started" if recipe["model"]["start"] else "provenance"]
    parts = [f"# {recipe['name']}", origin.format(start=recipe["model"]["start"], family=facts["family"]),
             _table((words["field"], words["value"]), rows),
             f"## {words['data']}", *_data(record["data"], words),
             f"## {words['limits']}", words["limits_text"],
             f"## {words['again']}", words["again_text"].format(digest=record["digest"]),
             f"```json\n{json.dumps(recipe, ensure_ascii=False, indent=1)}\n```"]
    return "\n\n".join(parts) + "\n"


def _data(data: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    """Sources with what is known of them: licence and share from a corpus's manifest, bytes from sampled text."""
    sources: Mapping[str, Mapping[str, Any]] = data["sources"]
    said = [words["corpus"].format(hash=data["hash"][:16])] if "hash" in data else [
        words["sampled"] if data.get("text") else words["built_in"]]
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    if "hash" in data:
        header = (words["source"], words["licence"], words["origin"], words["tokens"])
        rows = [(name, str(its.get("licence", "")), str(its.get("origin", "")),
                 f"{sum(shard['tokens'] for shard in its['shards'] if shard['file'].startswith('tokens/')):,}")
                for name, its in sources.items()]
    else:
        header = (words["source"], words["documents"], words["bytes"])
        rows = [(name, f"{its['train_documents']:,}", f"{its['train_bytes']:,}") for name, its in sources.items()]
    return [*said, _table(header, rows)]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])
