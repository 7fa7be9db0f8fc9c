"""Text of two sources and a tokenizer, for the tests of the whole pipeline."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tiny_corpus import END, prose, write
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dokja.build.korean import documents


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
