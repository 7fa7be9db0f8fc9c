"""Answers to short questions, for exact match."""

from __future__ import annotations

from collections.abc import Sequence

from ..models.codec import Codec
from ..models.decoder import Decoder
from ..models.generate import Sampling, generate


def answer_all(model: Decoder, codec: Codec, questions: Sequence[str], *, max_tokens: int = 24,
               batch: int = 64) -> list[str]:
    """The model's greedy answer to each question, asked as the only turn of a conversation."""
    options = Sampling(max_tokens=max_tokens, stop=(codec.end_of_turn, codec.end_of_text))
    prompts = [codec.prompt([("user", question)]) for question in questions]
    # Alike lengths share a batch, so that little is computed on padding.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        for row, ids in zip(rows, generate(model, [prompts[i] for i in rows], options), strict=True):
            answers[row] = codec.decode(ids)
    return answers
