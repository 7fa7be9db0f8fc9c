"""Small corpora of two sources, for the tests of the whole pipeline."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from dokja.build.corpus.recipe import from_dict
from dokja.build.corpus.shards import Shards

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


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the report, which has times."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and not path.name.startswith(("report", "recipe"))}


def all_texts(shards: Shards, source: str) -> list[str]:
    return [*shards.texts(source), *shards.texts(source, heldout=True)]


def stop_at(phase: str, after: int = 1) -> Any:
    """Progress that interrupts a run when so many pieces of a phase are done."""

    def progress(name: str, done: int, whole: int) -> None:
        if name == phase and done >= after:
            raise KeyboardInterrupt
    return progress
