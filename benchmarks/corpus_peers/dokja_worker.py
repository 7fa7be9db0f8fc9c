"""Our steps over texts, asked as datatrove_worker.py is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Read one request a line until the input ends."""
    worker = Worker(Path(sys.argv[2]), Path(sys.argv[3]))
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(worker, request.pop("do"))(**request)), flush=True)


class Worker:
    """The texts, and what the steps need to know, made once."""

    def __init__(self, texts: Path, items: Path) -> None:
        from dokja.build.corpus import decontaminate, dedup, language, quality, redact

        self._texts: list[str] = json.loads(texts.read_text(encoding="utf-8"))
        rows = json.loads(items.read_text(encoding="utf-8"))
        benchmarks = decontaminate.Benchmarks(("item", number, item) for number, item in enumerate(rows))
        rules, near = quality.QualityConfig(), dedup.DedupConfig()
        self._steps = {
            "quality": lambda text: quality.reason(text, rules),
            "personal data": redact.redact,
            "near-duplicates": lambda text: dedup.signature(text, near),
            "contamination": benchmarks.hits,
            "language": language.identify,
        }
        for run in self._steps.values():
            run(self._texts[0])  # tables and models are made at the first call

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        return {name: version(name) for name in ("rensa", "py3langid", "numpy")}

    def step(self, name: str) -> dict[str, float]:
        """Seconds of processor time that a step takes for all texts."""
        run = self._steps[name]
        start = time.process_time()
        for text in self._texts:
            run(text)
        return {"seconds": time.process_time() - start}


if __name__ == "__main__":
    main()
