"""From a recipe to what a run needs: architecture, tokenizer, sequences to learn from and held-out text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from ...errors import DokjaError
from ...models.codec import Codec
from ...models.decoder import Decoder
from ...models.families import ChatFormat, Family, family
from ...models.folder import load_folder
from ...models.scaling import extended, scaled, scaled_vocab
from ...models.spec import ModelSpec
from ..corpus import Corpus, build_corpus, open_corpus
from ..corpus.shards import Shards, open_shards
from ..document import Document
from ..exercises import mixed
from ..korean import documents
from ..packing import Sequences, Weighted, encode, interleave, pack
from ..read import Texts
from ..seeds import named_seed
from ..tokenizer import train_tokenizer
from .next_token import Source
from .recipe import DataRecipe, Recipe
from .stream import StageMix, TokenStream

TOKENIZER_BYTES = 20_000_000
HELDOUT_BYTES = 2_000_000
_DATA = "data"


@dataclass(frozen=True)
class Heldout:
    """Packed held-out sequences and the bytes of text that they spell."""

    sequences: Sequences
    bytes: int

    @torch.no_grad()
    def bits_per_byte(self, model: Decoder, batch: int) -> float:
        """-log2 p of all that counts, over the bytes; a document is read in pieces of a context."""
        device, total = model.embedding.weight.device, 0.0
        was = model.training
        model.eval()
        count = len(self.sequences.tokens)
        for start in range(0, count, batch):
            ids, targets, weights = self.sequences.rows(range(start, min(start + batch, count)))
            counted = (weights > 0).float()
            loss, _ = model.losses(ids.to(device), targets.to(device), counted.to(device))
            total += float(loss) * float(counted.sum())
        model.train(was)
        return total / torch.log(torch.tensor(2.0)).item() / self.bytes


@dataclass(frozen=True)
class Material:
    """What a run is made of.

    model: the weights that it starts from, None for random ones. source: sequences for objectives that read text.
    about: where the data came from, for the card.
    """

    spec: ModelSpec
    codec: Codec
    family: Family
    model: Decoder | None
    source: Source
    heldout: Heldout | None
    about: dict[str, Any]


def prepare(recipe: Recipe, folder: Path) -> Material:
    """Everything that the recipe names, read or made; what is made is kept under `folder`/data for the next start.

    Raises DokjaError for what is missing or does not fit.
    """
    if recipe.model.start is not None:
        started = load_folder(model_folder(Path(recipe.model.start)))
        assert started.family is not None
        spec = extended(started.spec, recipe.model.extend, recipe.model.window)
        model = Decoder(spec)
        model.load_state_dict(started.decoder.state_dict())
        chosen, codec = started.family, started.codec
        if recipe.data.tokenizer is not None:
            raise DokjaError("a started model keeps its tokenizer: leave data.tokenizer out")
    else:
        chosen, codec, model = family(recipe.model.family), _codec(recipe, folder), None
        spec = scaled(chosen.spec, recipe.model.parameters, context=recipe.model.context, vocab=codec.vocab)
    made = _from_text if recipe.data.corpus is None else _from_shards
    source, heldout, about = made(recipe, folder, codec, spec)
    return Material(spec, codec, chosen, model, source, heldout, about)


def model_folder(path: Path) -> Path:
    """A model folder, or the one that a run's folder holds."""
    return path / "model" if (path / "model").is_dir() else path


def _codec(recipe: Recipe, folder: Path) -> Codec:
    chat = family(recipe.model.family).chat
    kept = folder / _DATA / "tokenizer.json"
    if recipe.data.corpus is not None:
        if recipe.data.tokenizer is not None:
            raise DokjaError("a corpus brings its tokenizer: leave data.tokenizer out")
        return _codec_of(open_shards(Path(recipe.data.corpus)), chat)
    if recipe.data.tokenizer is not None:
        given = Path(recipe.data.tokenizer)
        return Codec.load(given / "tokenizer.json" if given.is_dir() else given, chat)
    if not kept.exists():
        spec = family(recipe.model.family).spec
        vocab = recipe.data.vocab or scaled_vocab(spec, recipe.model.parameters)
        codec = train_tokenizer(_corpus(recipe, folder).train(), vocab, chat, max_bytes=TOKENIZER_BYTES)
        _save(codec.tokenizer, kept)
    return Codec.load(kept, chat)


def _save(tokenizer: Tokenizer, path: Path) -> None:
    draft = path.with_name(path.name + ".draft")
    tokenizer.save(str(draft))
    draft.replace(path)


def _corpus(recipe: Recipe, folder: Path) -> Corpus:
    """The text of a recipe without a corpus, sampled into the run's folder; made anew when the recipe's text is not
    what it was made from."""
    data, at = recipe.data, folder / _DATA
    made_from = json.dumps([data.text, data.train_bytes, data.heldout_bytes, recipe.train.seed])
    if (at / "manifest.json").exists():
        corpus = open_corpus(at)
        if corpus.manifest["description"] == made_from:
            return corpus
        shutil.rmtree(at)
    stream = Texts([Path(text) for text in data.text]) if data.text else _built_in(data, recipe.train.seed)
    return build_corpus(stream, at, train_bytes=data.train_bytes, heldout_bytes=data.heldout_bytes,
                        seed=named_seed(recipe.train.seed, "corpus"), description=made_from)


def _built_in(data: DataRecipe, seed: int) -> Iterator[Document]:
    """Enough of the generator's documents to fill both budgets."""
    wanted = 1.1 * (data.train_bytes + data.heldout_bytes)
    for document in documents(named_seed(seed, "text")):
        wanted -= len(document.content.encode())
        yield document
        if wanted < 0:
            return


def _from_shards(recipe: Recipe, folder: Path, codec: Codec, spec: ModelSpec) -> tuple[Source, Heldout | None,
                                                                                       dict[str, Any]]:
    """Sequences from the token shards of a corpus; its held-out documents, up to HELDOUT_BYTES of them."""
    shards = open_shards(Path(recipe.data.corpus or ""))
    told = {"corpus": recipe.data.corpus, "hash": shards.manifest["hash"], "sources": shards.manifest["sources"]}
    _same_tokenizer(codec, shards)
    stages = shards.stages
    if recipe.data.stage is not None:
        stages = [stage for stage in stages if stage["name"] == recipe.data.stage]
        if not stages:
            named = ", ".join(stage["name"] for stage in shards.stages)
            raise DokjaError(f"{shards.path} has no stage {recipe.data.stage!r}: choose from {named}")
        stages = [{**stages[0], "tokens": None}]
    mixes = [StageMix(None if stage["tokens"] is None else max(1, round(stage["tokens"] / spec.context)),
                      stage["weights"]) for stage in stages]
    stream = TokenStream({name: [ids for ids, _ in shards.tokens(name)] for name in shards.sources}, mixes,
                         spec.context)
    documents, size = [], 0
    for name in shards.sources:
        kept, limit = 0, HELDOUT_BYTES // len(shards.sources)
        pieces = chain.from_iterable(np.split(ids, ends[:-1].astype(np.int64))
                                     for ids, ends in shards.tokens(name, heldout=True))
        for text, ids in zip(shards.texts(name, heldout=True), pieces, strict=True):
            if kept >= limit:
                break
            kept += len(text.encode())
            documents.append(Weighted(ids.tolist(), [1] * len(ids)))
        size += kept
    if not documents:
        return stream, None, told
    return stream, Heldout(pack(documents, spec.context, codec.end_of_text, codec.vocab), size), told


def _codec_of(shards: Shards, chat: ChatFormat) -> Codec:
    """The tokenizer that a corpus was cut with."""
    if shards.manifest["tokens"] is None:
        raise DokjaError(f"{shards.path} has text and no tokens: build it with a tokenizer in the recipe")
    return Codec.load(shards.path / "tokenizer.json", chat)


def _same_tokenizer(codec: Codec, shards: Shards) -> None:
    its, own = shards.manifest["tokens"], _codec_of(shards, codec.chat)
    if own.tokenizer.to_str() != codec.tokenizer.to_str() or its["end_of_text_id"] != codec.end_of_text:
        raise DokjaError(f"{shards.path} was cut into tokens by another tokenizer ({own.vocab:,} tokens) than the "
                         f"model's ({codec.vocab:,}): build the corpus with the model's tokenizer.json")


def _from_text(recipe: Recipe, folder: Path, codec: Codec, spec: ModelSpec) -> tuple[Source, Heldout, dict[str, Any]]:
    corpus = _corpus(recipe, folder)
    packed = folder / _DATA / f"sequences-{spec.context}.npz"
    if not packed.exists():
        texts: Iterator[Document] = corpus.train()
        if recipe.data.conversations:
            texts = (document for document in texts if document.turns)
        if recipe.data.exercises:
            drills = (item.document() for item in mixed("train", named_seed(recipe.train.seed, "exercises")))
            texts = interleave(texts, drills, recipe.data.exercises, named_seed(recipe.train.seed, "interleave"))
        pack(encode(codec, texts, answer_weight=recipe.data.answer_weight, answers_only=recipe.data.answers_only),
             spec.context, codec.end_of_text,
             codec.vocab).save(packed)
    aside = corpus.heldout()
    heldout = Heldout(pack(encode(codec, aside), spec.context, codec.end_of_text, codec.vocab),
                      sum(len(document.content.encode()) for document in aside))
    return Sequences.load(packed), heldout, {"sources": corpus.manifest["sources"], "text": list(recipe.data.text)}
