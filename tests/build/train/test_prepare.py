"""From a corpus of `dokja build corpus` to a trained model: its tokens, its stages, its held-out text, its licences."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dokja.build.corpus.pipeline import build
from dokja.build.corpus.recipe import from_dict
from dokja.build.corpus.shards import open_shards
from dokja.build.korean import documents
from dokja.build.tokenizer import train_tokenizer
from dokja.build.train.loop import Outcome, run
from dokja.build.train.prepare import prepare
from dokja.build.train.recipe import Recipe, resolve
from dokja.build.train.recipes import find
from dokja.build.watch import model_card
from dokja.errors import DokjaError
from dokja.models.families import family
from dokja.models.folder import load_folder

pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of the built-in text in two stages, cut by a tokenizer of 512 tokens."""
    at = tmp_path_factory.mktemp("corpus")
    texts = [document.text for document in documents(5, 0, 400) if document.text]
    for name, some in (("stories", texts[::2]), ("notices", texts[1::2])):
        lines = (json.dumps({"text": text}, ensure_ascii=False) for text in some)
        (at / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    codec = train_tokenizer(documents(5, 0, 400), 512, family("k-exaone").chat, max_bytes=100_000)
    codec.tokenizer.save(str(at / "tokenizer.json"))
    recipe = from_dict({
        "name": "two", "heldout": 0.1, "tokenizer": str(at / "tokenizer.json"), "quality": None, "near": None,
        "stages": [{"name": "broad", "tokens": 640}, {"name": "fine"}],
        "sources": [{"name": "stories", "licence": "CC0-1.0", "origin": "Dokja", "paths": [str(at / "stories.jsonl")],
                     "weight": {"broad": 1, "fine": 1}},
                    {"name": "notices", "licence": "CC-BY-4.0", "origin": "Dokja",
                     "paths": [str(at / "notices.jsonl")], "weight": {"broad": 0, "fine": 3}}]})
    build(recipe, at / "made")
    return at / "made"


def recipe_of(corpus: Path, *settings: str) -> Recipe:
    return resolve(find("pretrain"), [
        f"data.corpus={corpus}", "model.parameters=60e3", "model.context=32", "schedule.steps=6", "task.batch=4",
        *settings])


def test_a_model_is_trained_on_a_corpus(corpus: Path, tmp_path: Path) -> None:
    assert run(recipe_of(corpus), tmp_path / "run", lambda record: None) == Outcome(6, 6, None)
    model = load_folder(tmp_path / "run" / "model")
    assert model.codec.vocab == 512
    card = model_card(tmp_path / "run")
    for expected in ("CC0-1.0", "CC-BY-4.0", open_shards(corpus).manifest["hash"][:16]):
        assert expected in card


def test_stages_are_followed_and_tokens_are_those_of_the_shards(corpus: Path, tmp_path: Path) -> None:
    """20 sequences of 32 tokens of stories alone, then three of four of notices."""
    material, shards = prepare(recipe_of(corpus), tmp_path), open_shards(corpus)
    held = {name: shards.tokens(name)[0][0] for name in shards.sources}
    sequences = material.source.batch(3, 0, 420)[0].numpy()

    def sources_of(row: np.ndarray) -> set[str]:
        """One of them as a rule; both where two documents of the built-in text share 32 tokens."""
        windows = {name: np.lib.stride_tricks.sliding_window_view(ids, 32) for name, ids in held.items()}
        return {name for name, all_of in windows.items() if (all_of == row).all(-1).any()}

    found = [sources_of(row) for row in sequences[:60]]
    assert all("stories" in sources for sources in found[:20])
    assert found[:20].count({"stories"}) > 10
    assert 24 <= found[20:].count({"notices"}) <= 30
    assert 6 <= found[20:].count({"stories"}) <= 10
    only = prepare(recipe_of(corpus, "data.stage=broad"), tmp_path)
    assert all("stories" in sources_of(row) for row in only.source.batch(3, 0, 30)[0].numpy())


def test_held_out_bits_are_those_of_the_held_out_text(corpus: Path, tmp_path: Path) -> None:
    """An untrained model whose logits are all equal needs log2 of the vocabulary for every token."""
    material, shards = prepare(recipe_of(corpus), tmp_path), open_shards(corpus)
    assert material.heldout is not None
    texts = [text for name in shards.sources for text in shards.texts(name, heldout=True)]
    assert material.heldout.bytes == sum(len(text.encode()) for text in texts)
    from dokja.models.decoder import Decoder

    model = Decoder(material.spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    tokens = sum(len(ids) for name in shards.sources for ids, _ in shards.tokens(name, heldout=True))
    expected = tokens * math.log2(512) / material.heldout.bytes
    assert material.heldout.bits_per_byte(model, 7) == pytest.approx(expected, rel=1e-4)


def test_a_corpus_that_does_not_fit_is_said(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match="has no stage 'late': choose from broad, fine"):
        prepare(recipe_of(corpus, "data.stage=late"), tmp_path)
    with pytest.raises(DokjaError, match="a corpus brings its tokenizer"):
        prepare(recipe_of(corpus, "data.tokenizer=other.json"), tmp_path)
    with pytest.raises(DokjaError, match="holds no finished corpus"):
        prepare(recipe_of(tmp_path / "none"), tmp_path)
    run(resolve(find("pretrain"), ["model.parameters=60e3", "model.context=32", "data.train_bytes=80e3", "task.batch=4",
                                   "data.heldout_bytes=8e3", "schedule.steps=2", "data.vocab=600"]),
        tmp_path / "other", lambda record: None)
    with pytest.raises(DokjaError, match="was cut into tokens by another tokenizer"):
        prepare(resolve(find("midtrain"), [f"data.corpus={corpus}", f"model.start={tmp_path / 'other'}"]), tmp_path)
