"""Reinforcement learning with verifiable rewards: GRPO (Shao et al. 2024, arXiv 2402.03300), on policy, as it is done
since.

Advantages are rewards less their group's mean, not divided by its deviation (Dr. GRPO, Liu et al. 2025, arXiv
2503.20783, which also has the constant length of `length`); every token of a batch counts the same, groups that all
pass or all fail are drawn again, answers that were cut off are left out or punished softly (DAPO, Yu et al. 2025, arXiv
2503.14476: token-level loss, dynamic sampling, overlong filtering and equation 13). Each batch is sampled from the
weights that it changes, once, so the ratio to them is 1 and there is nothing to clip. What is not 1 is the ratio to the
sampler's own probabilities, where another engine samples; `importance` says what is done about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from ...errors import DokjaError
from ...models.codec import Codec
from ...models.cost import forward_flops_per_token, training_flops_per_token
from ...models.decoder import Decoder
from ...models.generate import Sampling, generate
from ..seeds import named_seed
from ..train.objective import Batch
from .logprobs import IGNORED, Answer, answer_logprobs, padded, read_places
from .rewards import Question, Questions


@dataclass(frozen=True)
class GRPOConfig:
    """batch: groups a step, each of `group` answers to one question, of at most `max_tokens`.

    skill: the exercises that are asked, None all; questions: .jsonl files with a prompt a line, instead; reward: what
    an answer is worth (`rewards.find_reward`), such as "file.py:function".
    rounds: how often at most groups are drawn, to replace those without a signal.
    overlong: answers that were cut off are left out ("drop"), count as all others ("keep"), or lose up to 1 of their
    reward as they come nearer than `margin` tokens to max_tokens ("soft").
    length: what a batch's sum over tokens is divided by: its "tokens", or a "constant", batch * group * max_tokens.
    importance: of the ratio to the sampler's probabilities. "truncate": a token's gradient counts by it, at most
    `truncate` (Yao et al. 2025, truncated importance sampling); "clip": a token whose ratio is beyond 1 - clip_low or
    1 + clip_high the way that it is pushed teaches nothing (DAPO, clip-higher), and a punished one counts at most
    `truncate`; "sequence": the same by the geometric mean over an answer, and answers count alike (GSPO, Zheng et al.
    2025, arXiv 2507.18071; there clip_low 3e-4, clip_high 4e-4).
    kl: weight of the divergence from the starting weights (k3 estimate); 0 is none.
    """

    kind: Literal["grpo"] = "grpo"
    batch: int = 8
    group: int = 8
    max_tokens: int = 32
    skill: str | None = None
    questions: tuple[str, ...] = ()
    reward: str = ""
    rounds: int = 3
    overlong: Literal["drop", "keep", "soft"] = "drop"
    margin: int = 8
    length: Literal["tokens", "constant"] = "tokens"
    importance: Literal["truncate", "clip", "sequence"] = "truncate"
    clip_low: float = 0.2
    clip_high: float = 0.28
    truncate: float = 2.0
    kl: float = 0.0


class Completion(Protocol):
    """Sampled ids without the stop token; ended: whether one came. logprobs: log p of each id as the sampler had them,
    None where it does not tell."""

    @property
    def ids(self) -> Sequence[int]: ...

    @property
    def ended(self) -> bool: ...

    @property
    def logprobs(self) -> Sequence[float] | None: ...


@dataclass(frozen=True)
class Sampled:
    """A `Completion`."""

    ids: Sequence[int]
    ended: bool
    logprobs: Sequence[float] | None = None


class Sampler(Protocol):
    """What answers: at temperature 1, from the model's weights as they are now; the same for the same seed."""

    def sample(self, model: Decoder, prompts: Sequence[Sequence[int]], *, max_tokens: int, seed: int,
               stop: tuple[int, ...]) -> Sequence[Completion]: ...


class Generate:
    """The plain sampler: one batch, from beginning to end."""

    def sample(self, model: Decoder, prompts: Sequence[Sequence[int]], *, max_tokens: int, seed: int,
               stop: tuple[int, ...]) -> Sequence[Completion]:
        training = model.training
        options = Sampling(max_tokens=max_tokens, temperature=1.0, seed=seed, stop=stop)
        found = generate(model, prompts, options)
        model.train(training)
        return [Sampled(ids, len(ids) < max_tokens) for ids in found]


@dataclass(frozen=True)
class Rewarded:
    """An answer and what it is worth; late: what it loses for its length; advantage: over its group's mean."""

    answer: Answer
    completion: Completion
    reward: float
    late: float
    advantage: float = 0.0


class GRPO:
    """Groups of answers to questions, rewarded."""

    def __init__(self, questions: Questions, codec: Codec, config: GRPOConfig, seed: int, *,
                 sampler: Sampler | None = None, reference: Decoder | None = None) -> None:
        """reference: the weights that the run began with, where config.kl is not 0."""
        self.questions, self.codec, self.config, self.seed = questions, codec, config, seed
        self.sampler: Sampler = sampler or Generate()
        self.reference = reference
        if reference is not None:
            reference.eval().requires_grad_(False)

    def batch(self, model: Decoder, step: int) -> Batch:
        """Ask, sample, reward; groups without a signal are replaced, as far as `rounds` allows."""
        config = self.config
        kept: list[Rewarded] = []
        everything: list[Rewarded] = []
        useful = 0
        for again in range(config.rounds):
            wanted = config.batch - useful
            if not wanted:
                break
            start = (step * config.rounds + again) * config.batch
            for group in self._groups(model, self.questions.questions(start, wanted), step, again):
                everything += group
                values = [one.reward - one.late for one in group]
                if max(values) > min(values):
                    useful += 1
                    mean = sum(values) / len(values)
                    kept += [replace(one, advantage=value - mean) for one, value in zip(group, values, strict=True)]
        count = len(everything)
        numbers = {"reward": sum(one.reward for one in everything) / count,
                   "length": sum(len(one.completion.ids) for one in everything) / count,
                   "ended": sum(one.completion.ended for one in everything) / count,
                   "signal": useful * config.group / count}
        sampled = sum(len(one.answer.prompt) + len(one.answer.answer) for one in everything)
        return self._batch(model, kept, numbers, sampled)

    def _groups(self, model: Decoder, questions: Sequence[Question], step: int, again: int) -> list[list[Rewarded]]:
        config, codec = self.config, self.codec
        prompts = [codec.prompt([("user", question.prompt)]) for question in questions]
        longest = max(map(len, prompts))
        if longest + config.max_tokens > model.spec.context:
            raise DokjaError(f"a question of {longest:,} tokens and task.max_tokens = {config.max_tokens:,} do not fit "
                             f"into the model's context of {model.spec.context:,}: lower task.max_tokens, leave such "
                             "questions out or set model.extend")
        many = [prompt for prompt in prompts for _ in range(config.group)]
        completions = self.sampler.sample(model, many, max_tokens=config.max_tokens,
                                          seed=named_seed(self.seed, "sample", step, again),
                                          stop=(codec.end_of_turn,))
        return [[self._rewarded(question, prompts[number], one)
                 for one in completions[number * config.group : (number + 1) * config.group]]
                for number, question in enumerate(questions)]

    def _rewarded(self, question: Question, prompt: Sequence[int], one: Completion) -> Rewarded:
        config = self.config
        late = 0.0
        if config.overlong == "soft":
            late = min(1.0, max(0.0, (len(one.ids) - config.max_tokens) / config.margin + 1)) if one.ended else 1.0
        answer = Answer(prompt, [*one.ids, *([self.codec.end_of_turn] if one.ended else [])])
        return Rewarded(answer, one, self.questions.reward(question, self.codec.decode(one.ids)), late)

    def _batch(self, model: Decoder, kept: Sequence[Rewarded], numbers: dict[str, float], sampled: int) -> Batch:
        """Padded rows with their advantages, what each token counts, and the sampler's log-probabilities; one row of
        nothing if none is left."""
        codec, config, context = self.codec, self.config, model.spec.context
        rows = [one for one in kept if one.completion.ended or config.overlong != "drop"]
        if not rows:
            filler = torch.full((1, 2), codec.end_of_text)
            nothing = {"ids": filler, "targets": torch.full((1, 2), -100), "advantage": torch.zeros(1),
                       "sampled": torch.zeros(1, 2), "share": torch.zeros(1, 2), "tokens": torch.ones(1)}
            return Batch(nothing, 1.0, sampled, sampled * forward_flops_per_token(model.spec, context), numbers)
        ids, targets = padded([one.answer for one in rows], context, codec.end_of_text)
        counts = targets != IGNORED
        told = torch.full(ids.shape, torch.nan)
        for row, one in enumerate(rows):
            if one.completion.logprobs is not None:
                places = counts[row].nonzero()[: len(one.completion.logprobs), 0]  # the stop token's is not told
                told[row, places] = torch.tensor(one.completion.logprobs[: len(places)])
        tokens = float(counts.sum())
        share = counts.float()
        if config.importance == "sequence":
            share /= counts.sum(-1, keepdim=True) * len(rows)
        else:
            share /= tokens if config.length == "tokens" else config.batch * config.group * config.max_tokens
        table = {"ids": ids, "targets": targets, "sampled": told, "share": share,
                 "advantage": torch.tensor([one.advantage for one in rows]), "tokens": torch.full((len(rows),), tokens)}
        read, length = read_places(ids, targets), ids.shape[1]
        flops = (read * training_flops_per_token(model.spec, length)
                 + sampled * forward_flops_per_token(model.spec, length))
        if self.reference is not None:
            device = model.embedding.weight.device
            with torch.no_grad():
                table["reference"] = answer_logprobs(self.reference.to(device), ids.to(device),
                                                     targets.to(device)).cpu()
            flops += read * forward_flops_per_token(model.spec, length)
        return Batch(table, 1.0, read + sampled, flops, numbers)

    def loss(self, model: Decoder, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """-advantage * ratio over the batch's answer tokens, and the divergence from the reference.

        mismatch: mean distance of the sampler's log-probabilities from the model's; entropy: -log p of what was
        sampled, whose mean it is; clipped: the share of tokens whose ratio was beyond what `importance` lets through.
        """
        config, rows = self.config, part.rows
        counts = rows["targets"] != IGNORED
        logp = answer_logprobs(model, rows["ids"], rows["targets"])
        own, advantage = logp.detach(), rows["advantage"][:, None]
        told = torch.where(rows["sampled"].isnan() | ~counts, own, rows["sampled"])
        if config.importance == "truncate":
            weight = (own - told).exp()
            beyond = weight > config.truncate
            gain = weight.clamp(max=config.truncate) * (logp - own).exp() * advantage
        else:
            away = logp - told
            if config.importance == "sequence":
                away = away.sum(-1, keepdim=True) / counts.sum(-1, keepdim=True).clamp(min=1)
            ratio = away.exp()
            clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
            gain = torch.minimum(ratio * advantage, clipped * advantage)
            gain = torch.where(advantage < 0, torch.maximum(gain, config.truncate * advantage), gain)
            beyond = (ratio != clipped).expand_as(counts)
        loss = -(gain * rows["share"]).sum()
        tokens = rows["tokens"][:, None]
        numbers = {"loss": loss, "clipped": (beyond * counts / tokens).sum(),
                   "mismatch": ((own - told).abs() * counts / tokens).sum(), "entropy": -(own * counts / tokens).sum()}
        if "reference" in rows:
            away = rows["reference"] - logp
            kl = ((away.exp() - away - 1) * counts / tokens).sum()
            loss = loss + config.kl * kl
            numbers["kl"] = kl
        return loss, {name: value.detach() for name, value in numbers.items()}
