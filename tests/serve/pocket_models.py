"""A model folder without training, for the tests of serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dokja.models.codec import Codec
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.folder import load_folder, save_folder
from dokja.models.init import initialise
from dokja.models.model import Model
from dokja.models.scaling import scaled

TEXTS = ["안녕하세요? 반갑습니다. 오늘은 날씨가 좋습니다.", "책은 책상 위에 있습니다.", "나는 학교에 갑니다."] * 20


def tokenizer(special: tuple[str, ...], vocab: int = 600) -> Tokenizer:
    """A byte-level BPE tokenizer trained on a few sentences."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=["<|endoftext|>", *special], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return made


def make_folder(path: Path, name: str = "k-exaone", *, seed: int = 0, context: int = 128, **card: Any) -> Path:
    """A randomly initialised pocket model of a family, saved."""
    chosen = family(name)
    codec = Codec(tokenizer(chosen.chat.special), chosen.chat)
    model = Decoder(scaled(chosen.spec, 300_000, context=context, vocab=codec.vocab))
    initialise(model, seed)
    save_folder(path, model, codec, {"family": name, "team": chosen.title, "company": chosen.company, "season": "시험",
                                     "stage": 3, "seed": seed, "tokens": 1_000_000, "flops": 1e12,
                                     "parameters": 300_000, "rank": 1, **card})
    return path


def make_model(path: Path, name: str = "k-exaone", **options: Any) -> Model:
    """The same, loaded."""
    return load_folder(make_folder(path, name, **options))


def make_talker(name: str = "k-exaone", *, context: int = 512, own: str | None = None) -> Model:
    """A small random model that talks as its family's published ones do: template, reasoning, tools.

    own: a chat template that came with the checkpoint.
    """
    chosen = family(name)
    template = chosen.chat_template()
    assert template is not None
    marks = ("<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|endofturn|>")
    words = tokenizer(tuple(dict.fromkeys((*marks, *template.syntax.special))))
    model = Decoder(scaled(chosen.spec, 300_000, context=context, vocab=words.get_vocab_size()))
    initialise(model, 3)
    stop = tuple(index for mark in ("<|endoftext|>", "<|im_end|>", "<|endofturn|>")
                 if (index := words.token_to_id(mark)) is not None)
    files = {} if own is None else {"chat_template.jinja": own.encode()}
    return Model(model.eval(), words, chosen, files=files, stop=stop)
