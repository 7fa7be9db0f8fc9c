"""datatrove's steps over texts, in an environment of its own: a line of JSON asks, a line of JSON answers.

language: datatrove's name for the tokenizer of words; "eng_Latn" is its default (spaCy), "kor_Hang" is kiwipiepy's.
Steps are its own classes with their defaults, called for one document after another as its executor does.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any


def main() -> None:
    """Read one request a line until the input ends."""
    requests = sys.stdin
    answers, sys.stdout = sys.stdout, sys.stderr  # what the library prints is no answer
    from loguru import logger

    logger.remove()
    worker = Worker(sys.argv[1], sys.argv[2], sys.argv[3])
    for line in requests:
        request = json.loads(line)
        print(json.dumps(getattr(worker, request.pop("do"))(**request)), file=answers, flush=True)


class Worker:
    """The texts and the steps, made once."""

    def __init__(self, language: str, texts: str, items: str) -> None:
        from datatrove.data import Document
        from datatrove.pipeline.decont.n_grams import NGramsDecontFilter
        from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
        from datatrove.pipeline.filters import (
            C4QualityFilter,
            FineWebQualityFilter,
            GopherQualityFilter,
            GopherRepetitionFilter,
        )
        from datatrove.pipeline.formatters import PIIFormatter
        from datatrove.utils.text import ngrams, simplify_text

        self._document = Document
        with open(texts, encoding="utf-8") as file:
            self._texts: list[str] = json.load(file)
        self._filters = {
            "Gopher repetition": GopherRepetitionFilter(language=language),
            "Gopher quality": GopherQualityFilter(language=language),
            "FineWeb quality": FineWebQualityFilter(language=language),
            "C4 quality": C4QualityFilter(language=language),
        }
        self._pii = PIIFormatter()
        self._minhash = MinhashDedupSignature(tempfile.mkdtemp(), language=language)
        self._contamination = NGramsDecontFilter(tempfile.mkdtemp(), language=language)
        self._contamination._index_hashes = {}
        with open(items, encoding="utf-8") as file:
            for item in json.load(file):
                words = self._contamination.tokenizer.word_tokenize(simplify_text(item))
                for gram in ngrams(words, self._contamination.config.n_grams):
                    self._contamination._index_hashes[self._contamination.hash_func(" ".join(gram))] = "item"

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("datatrove", "spacy", "kiwipiepy", "numpy")}

    def _documents(self) -> list[Any]:
        # The library remembers the words of the last five texts: each document is looked at by one step at a time.
        return [self._document(text=text, id=str(number)) for number, text in enumerate(self._texts)]

    def step(self, name: str) -> dict[str, float]:
        """Seconds of processor time that a step takes for all texts."""
        documents = self._documents()
        start = time.process_time()
        if name == "quality":  # Gopher's two; the words are found once, as the second finds them remembered
            repetition, quality = self._filters["Gopher repetition"], self._filters["Gopher quality"]
            for document in documents:
                repetition.filter(document)
                quality.filter(document)
        elif name == "personal data":
            for document in documents:
                self._pii.format(document.text)
        elif name == "near-duplicates":
            for document in documents:
                shingles = self._minhash.get_shingles(document.text)
                if shingles.size:
                    self._minhash.get_signature(shingles)
        elif name == "contamination":
            for document in documents:
                self._contamination.filter(document)
        return {"seconds": time.process_time() - start}

    def survival(self, texts: list[str]) -> dict[str, float]:
        """The share of texts that each filter keeps, and that all of Gopher's and FineWeb's keep."""
        kept = {name: [_kept(step.filter(self._document(text=text, id="0"))) for text in texts]
                for name, step in self._filters.items()}  # fmt: skip
        together = zip(kept["Gopher repetition"], kept["Gopher quality"], kept["FineWeb quality"], strict=True)
        return {**{name: sum(found) / len(found) for name, found in kept.items()},
                "Gopher and FineWeb": sum(map(all, together)) / len(texts)}  # fmt: skip

    def duplicates(self, texts: list[str]) -> list[int]:
        """The texts that its clusters drop: those that share a bucket with an earlier one, and so on."""
        parent = list(range(len(texts)))

        def root(place: int) -> int:
            while parent[place] != place:
                place = parent[place]
            return place

        seen: dict[tuple[int, tuple[int, ...]], int] = {}
        for place, text in enumerate(texts):
            shingles = self._minhash.get_shingles(text)
            if not shingles.size:
                continue
            for bucket, values in enumerate(self._minhash.get_signature(shingles)):
                one, other = sorted((root(place), root(seen.setdefault((bucket, tuple(values)), place))))
                parent[other] = one
        return [place for place in range(len(texts)) if root(place) != place]

    def masked(self, texts: list[str]) -> list[str]:
        return [self._pii.format(text) for text in texts]


def _kept(answer: bool | tuple[bool, str]) -> bool:
    return answer if isinstance(answer, bool) else answer[0]


if __name__ == "__main__":
    main()
