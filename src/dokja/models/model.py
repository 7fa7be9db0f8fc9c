"""A model ready to run, with all that came with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from ..errors import DokjaError
from . import generate
from .codec import Codec
from .decoder import Decoder
from .families.family import CHATML, Family
from .generate import Sampling
from .spec import ModelSpec


@dataclass(frozen=True)
class Model:
    """A decoder with its tokenizer and family, where it has them.

    card: what is known about a model that was trained here (team, stage, training figures).
    files: small files that came with a published model, by name, kept byte for byte for saving it again.
    stop: token ids that end its texts.
    """

    decoder: Decoder
    tokenizer: Tokenizer | None = None
    family: Family | None = None
    card: dict[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    stop: tuple[int, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        return self.decoder.spec

    @cached_property
    def codec(self) -> Codec:
        """The tokenizer together with the family's turn markers; DokjaError if it lacks one of them."""
        return Codec(self._tokenizer(), self.family.chat if self.family else CHATML)

    def generate(self, prompts: Sequence[str], sampling: Sampling | None = None) -> list[str]:
        """What follows each prompt, greedy unless `sampling` says otherwise; the model's own stop tokens end it."""
        tokenizer = self._tokenizer()
        ids = [encoding.ids for encoding in tokenizer.encode_batch(list(prompts))]
        return tokenizer.decode_batch(generate.generate(self.decoder, ids, self._sampling(sampling)))

    def stream(self, prompt: str, sampling: Sampling | None = None) -> Iterator[str]:
        """The same for one prompt, piece by piece; a piece holds whole characters."""
        tokenizer = self._tokenizer()
        pieces = DecodeStream(skip_special_tokens=True)
        for token in generate.stream(self.decoder, tokenizer.encode(prompt).ids, self._sampling(sampling)):
            if piece := pieces.step(tokenizer, token):
                yield piece

    def _sampling(self, sampling: Sampling | None) -> Sampling:
        sampling = sampling or Sampling()
        return replace(sampling, stop=tuple({*self.stop, *sampling.stop}))

    def _tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise DokjaError(f"{self.spec.name} came without a tokenizer.json: put one beside its weights, or use "
                             "`decoder` with token ids")
        return self.tokenizer
