"""Log-probabilities of single tokens, without ever holding the logits of a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...models.codec import Codec
from ...models.decoder import Decoder
from ...models.places import shared

IGNORED = -100
_CHUNK = 512  # places whose logits exist at once; the backward pass makes them again


def answer_logprobs(model: Decoder, ids_BT: Tensor, target_BT: Tensor) -> Tensor:
    """log p of each target given the tokens up to its place, [B, T]; 0 where the target is -100.

    Rows that begin alike share the computing of it, and what follows a row's last target is not read at all.
    """
    counts = target_BT != IGNORED
    found = torch.zeros(target_BT.shape, device=ids_BT.device)
    places, place_BT = shared(ids_BT, _read(counts))
    states_NC = model.states(places)
    if not counts.any():  # still a function of the weights, whose gradients are zero
        return found + 0.0 * states_NC.sum()
    logp, _ = token_logprobs(model, states_NC[place_BT[counts]], target_BT[counts])
    return found.masked_scatter(counts, logp)


def read_places(ids_BT: Tensor, target_BT: Tensor) -> int:
    """How many tokens `answer_logprobs` computes for such rows; what their cost is counted by."""
    return shared(ids_BT, _read(target_BT != IGNORED))[0].size


def _read(counts_BT: Tensor) -> list[int]:
    """How many tokens of each row its last target needs; one of the first row where none has any."""
    place = torch.arange(1, counts_BT.shape[1] + 1, device=counts_BT.device)
    lengths: list[int] = (counts_BT * place).amax(-1).tolist()
    return lengths if any(lengths) else [1, *lengths[1:]]


def token_logprobs(model: Decoder, states_NC: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """log p [N] of each target under the head's reading of a state, and the logarithm of the softmax's denominator."""
    pieces = [recomputed(_picked, model, states_NC[at : at + _CHUNK], target_N[at : at + _CHUNK])
              for at in range(0, len(target_N), _CHUNK)]
    logp, denominator = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    return logp, denominator


def recomputed(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), of which the backward pass keeps the arguments alone and computes the rest again."""
    return checkpoint(function, *args, use_reentrant=False) if torch.is_grad_enabled() else function(*args)


def _picked(model: Decoder, states_NC: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    logits = model.read(states_NC).float()
    denominator = logits.logsumexp(-1)
    return logits.gather(-1, target_N[:, None])[:, 0] - denominator, denominator


@dataclass(frozen=True)
class Answer:
    """A prompt's ids, and the ids of an answer to it with what ends it."""

    prompt: Sequence[int]
    answer: Sequence[int]


def spelled(codec: Codec, turns: Sequence[tuple[str, str]], answer: str) -> Answer:
    """An answer to a conversation, in the family's markers."""
    return Answer(codec.prompt(turns), [*codec.encode(answer), codec.end_of_turn])


def padded(answers: Sequence[Answer], context: int, filler: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets [B, T] of which only answers count; T is the longest, at most `context`.

    What is longer than the context loses the beginning of its prompt, and then the end of its answer.
    """
    cut = []
    for one in answers:
        answer = list(one.answer)[:context]
        prompt = list(one.prompt)[max(0, len(one.prompt) + len(answer) - context - 1) :]
        cut.append((prompt, answer))
    length = max(len(prompt) + len(answer) for prompt, answer in cut) - 1
    ids = torch.full((len(cut), length), filler)
    targets = torch.full((len(cut), length), IGNORED)
    for row, (prompt, answer) in enumerate(cut):
        whole = torch.tensor(prompt + answer)
        ids[row, : len(whole) - 1] = whole[:-1]
        targets[row, len(prompt) - 1 : len(whole) - 1] = whole[len(prompt) :]
    return ids, targets
