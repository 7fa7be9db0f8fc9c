"""Preference, reinforcement and distillation: the formulas of their papers, and that they do what they are for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_teams import tiny_data, tiny_spec

from dokja.build.document import Document, Turn
from dokja.build.exercises import verify
from dokja.build.korean import documents
from dokja.build.optim import OptimConfig
from dokja.build.packing import encode, pack
from dokja.build.post.distil import Distil, DistilConfig, teacher_answers
from dokja.build.post.grpo import GRPO, GRPOConfig, Sampled
from dokja.build.post.logprobs import Answer, answer_logprobs, padded, spelled
from dokja.build.post.preference import Pair, Preference, PreferenceConfig, exercise_pairs, read_pairs
from dokja.build.post.rewards import ExerciseQuestions, FileQuestions, Question, find_reward
from dokja.build.schedule import Schedule
from dokja.build.tokenizer import train_tokenizer
from dokja.build.train import Checkpoints, NextToken, NextTokenConfig, Objective, TrainConfig, Trainer
from dokja.errors import DokjaError
from dokja.models.codec import Codec
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.init import initialise
from dokja.models.scaling import scaled

pytestmark = pytest.mark.usefixtures("_one_thread")

RATES = OptimConfig(muon_lr=0.02, adam_lr=0.01)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return train_tokenizer(documents(3, 0, 60), 400, family("solar-open").chat, max_bytes=60_000)


def fresh(codec: Codec, seed: int = 1) -> Decoder:
    model = Decoder(scaled(family("solar-open").spec, 60_000, context=64, vocab=codec.vocab))
    initialise(model, seed)
    return model


def trainer(model: Decoder, objective: Objective) -> Trainer:
    return Trainer(model.spec, objective, TrainConfig(seed=1, optim=RATES), Schedule([60], shape="constant"),
                   model=model)


def logp_of(model: Decoder, answer: Answer) -> torch.Tensor:
    """The sum of an answer's log-probabilities, by the model's logits and nothing else."""
    whole = torch.tensor([*answer.prompt, *answer.answer])
    logp = model(whole[None, :-1])[0].log_softmax(-1)
    return logp[torch.arange(len(whole) - 1), whole[1:]][len(answer.prompt) - 1 :].sum()


@pytest.mark.parametrize("learning", [True, False])
def test_log_probabilities_are_those_of_the_logits(codec: Codec, learning: bool,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where places are read in several pieces, and their gradients too."""
    monkeypatch.setattr("dokja.build.post.logprobs._CHUNK", 5)
    model, reference = fresh(codec), fresh(codec)
    draws = torch.Generator().manual_seed(1)
    ids = torch.randint(codec.vocab, (3, 9), generator=draws)
    targets = torch.randint(codec.vocab, (3, 9), generator=draws)
    targets[0, :4] = targets[2] = -100
    with torch.set_grad_enabled(learning):
        ours = answer_logprobs(model, ids, targets)
    expected = -F.cross_entropy(reference(ids).flatten(0, 1), targets.flatten(), ignore_index=-100,
                                reduction="none").view(3, 9)
    torch.testing.assert_close(ours, expected.detach() if not learning else expected, rtol=1e-4, atol=1e-5)
    if learning:
        weight = torch.rand(3, 9, generator=draws)
        (ours * weight).sum().backward()
        (expected * weight).sum().backward()
        for one, other in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_rows_hold_the_prompt_and_count_the_answer_alone() -> None:
    ids, targets = padded([Answer([1, 2, 3], [7, 8]), Answer([1], [9])], 16, 0)
    assert ids.tolist() == [[1, 2, 3, 7], [1, 0, 0, 0]]
    assert targets.tolist() == [[-100, -100, 7, 8], [9, -100, -100, -100]]


def test_what_is_too_long_loses_the_beginning_of_its_prompt() -> None:
    ids, targets = padded([Answer(list(range(1, 10)), [70, 80])], 4, 0)
    assert ids.tolist() == [[7, 8, 9, 70]]
    assert targets.tolist() == [[-100, -100, 70, 80]]


PAIRS = [Pair((("user", "하늘은?"),), "푸르다.", "네모나다."), Pair((("user", "물은?"),), "맑다.", "딱딱한 돌이다."),
         Pair((("user", "안녕"), ("assistant", "네"), ("user", "잘 가")), "또 봐요.", "몰라.")]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_dpo_is_equation_7_of_its_paper(codec: Codec, smoothing: float) -> None:
    model, reference = fresh(codec, 1), fresh(codec, 2)
    config = PreferenceConfig(batch=3, beta=0.3, smoothing=smoothing)
    objective = Preference(PAIRS, codec, config, seed=1, reference=deepcopy(reference))
    batch = objective.batch(model, 0)
    loss = sum(objective.loss(model, part)[0] for part in batch.parts(0, 3, 2))
    gaps = []
    for pair in PAIRS:
        chosen, rejected = (spelled(codec, pair.turns, text) for text in (pair.chosen, pair.rejected))
        gaps.append(0.3 * (logp_of(model, chosen) - logp_of(reference, chosen)
                           - logp_of(model, rejected) + logp_of(reference, rejected)))
    gap = torch.stack(gaps)
    expected = -(1 - smoothing) * F.logsigmoid(gap).mean() - smoothing * F.logsigmoid(-gap).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_simpo_is_equation_6_of_its_paper(codec: Codec) -> None:
    model = fresh(codec)
    objective = Preference(PAIRS, codec, PreferenceConfig("simpo", batch=3, beta=2.0, margin=0.5), seed=1)
    loss, _ = objective.loss(model, objective.batch(model, 0))
    gaps = []
    for pair in PAIRS:
        chosen, rejected = (spelled(codec, pair.turns, text) for text in (pair.chosen, pair.rejected))
        means = [logp_of(model, one) / len(one.answer) for one in (chosen, rejected)]
        gaps.append(2.0 * (means[0] - means[1]))
    torch.testing.assert_close(loss, -F.logsigmoid(torch.stack(gaps) - 0.5).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["dpo", "simpo"])
def test_preferences_are_learnt(codec: Codec, kind: str) -> None:
    model = fresh(codec)
    config = PreferenceConfig(kind, batch=3, beta=0.5 if kind == "dpo" else 2.0)  # type: ignore[arg-type]
    objective = Preference(PAIRS, codec, config, seed=1, reference=deepcopy(model) if kind == "dpo" else None)
    run = trainer(model, objective)
    first = run.step()
    for _ in range(20):
        last = run.step()
    assert last.loss < 0.5 * first.loss
    assert last.numbers["accuracy"] == 1.0
    assert last.numbers["margin"] > first.numbers["margin"] + 1


def test_a_reference_belongs_to_dpo(codec: Codec) -> None:
    with pytest.raises(DokjaError, match="dpo takes a reference"):
        Preference(PAIRS, codec, PreferenceConfig(), seed=1)
    with pytest.raises(DokjaError, match="simpo takes no reference"):
        Preference(PAIRS, codec, PreferenceConfig("simpo"), seed=1, reference=fresh(codec))


def test_pairs_of_exercises_are_right_and_wrong() -> None:
    pairs = exercise_pairs(3, 200)
    assert len({pair.turns for pair in pairs}) > 150
    assert all(pair.chosen != pair.rejected for pair in pairs)
    assert exercise_pairs(3, 50) == pairs[:50] != exercise_pairs(4, 50)


@pytest.mark.parametrize("line", [
    "{", "[]", '{"prompt": "a", "chosen": "b"}', '{"prompt": "", "chosen": "b", "rejected": "c"}',
    '{"prompt": "a", "chosen": 3, "rejected": "c"}'])
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    good = json.dumps({"messages": [{"role": "user", "content": "안녕"}], "chosen": "네", "rejected": "뭐"})
    (tmp_path / "pairs.jsonl").write_text(good + "\n" + line + "\n")
    with pytest.raises(DokjaError, match=r"pairs\.jsonl:2"):
        read_pairs([tmp_path / "pairs.jsonl"])


def short(prompt: str, answer: str, item: Mapping[str, Any]) -> float:
    """A reward that anyone can learn: the answer has this letter."""
    return float("다" in answer)


class OneQuestion:
    """The same question for ever."""

    def questions(self, start: int, count: int) -> list[Question]:
        return [Question("말해 봐", {"answer": ""})] * count

    def reward(self, question: Question, answer: str) -> float:
        return short(question.prompt, answer, question.item)


def rl(codec: Codec, **config: Any) -> Trainer:
    model = fresh(codec)
    objective = GRPO(OneQuestion(), codec, GRPOConfig(batch=4, group=8, max_tokens=8, **config), seed=1,
                     reference=deepcopy(model) if config.get("kl") else None)
    return trainer(model, objective)


@pytest.fixture(scope="module")
def talking(codec: Codec) -> Decoder:
    """A model that gives one of four answers and ends: fine-tuned on conversations, of which only answers count."""
    torch.set_num_threads(1)
    answers = ["가", "나다", "하늘과 땅", "바람이 분다"]
    turns = [(Turn("user", "말해 봐"), Turn("assistant", answer)) for answer in answers * 40]
    data = pack(encode(codec, (Document("talk", turns=each) for each in turns), answers_only=True), 64,
                codec.end_of_text, codec.vocab)
    run = trainer(fresh(codec), NextToken(data, NextTokenConfig(batch=4), 1))
    for _ in range(40):
        step = run.step()
    assert step.loss < 1.2
    return run.model


def test_a_reward_rises(codec: Codec, talking: Decoder) -> None:
    """Asked for what it says half of the time, it says nothing else soon."""
    run = trainer(deepcopy(talking), GRPO(OneQuestion(), codec, GRPOConfig(batch=2, group=8, max_tokens=16), seed=1))
    rewards = [run.step().numbers["reward"] for _ in range(15)]
    assert sum(rewards[:2]) / 2 < 0.75
    assert sum(rewards[-3:]) / 3 > 0.95


def test_reinforcement_goes_on_exactly(codec: Codec, tmp_path: Path) -> None:
    """Sampling is a function of the weights, the seed and the step, so a restored run asks and answers the same."""
    straight = rl(codec, kl=0.1)
    whole = [straight.step() for _ in range(4)]
    first = rl(codec, kl=0.1)
    parts = [first.step() for _ in range(2)]
    Checkpoints(tmp_path, asynchronous=False).save(first)
    second = rl(codec, kl=0.1)
    Checkpoints(tmp_path).restore(second)
    assert whole == parts + [second.step() for _ in range(2)]


class Scripted:
    """Answers as they are written down, with log-probabilities of its own."""

    def __init__(self, completions: list[Sampled]) -> None:
        self.completions = completions

    def sample(self, model: Decoder, prompts: Any, **options: Any) -> list[Sampled]:
        return self.completions


def test_the_gradient_is_the_papers(codec: Codec) -> None:
    """-sum over answer tokens of (reward - mean of the group) * grad log p, over all answer tokens (Dr. GRPO, DAPO);
    what did not end by itself is left out."""
    model, reference = fresh(codec), fresh(codec)
    texts = ["다", "하나 둘", "다 같이"]
    completions = [Sampled(codec.encode(text), True) for text in texts] + [Sampled(codec.encode("끝없"), False)]
    config = GRPOConfig(batch=1, group=4, rounds=1)
    objective = GRPO(OneQuestion(), codec, config, seed=1, sampler=Scripted(completions))
    batch = objective.batch(model, 0)
    assert batch.numbers["reward"] == 0.5
    assert batch.numbers["ended"] == 0.75
    for part in batch.parts(0, batch.size, 2):
        objective.loss(model, part)[0].backward()
    answers = [spelled(codec, [("user", "말해 봐")], text) for text in texts]
    tokens = sum(len(answer.answer) for answer in answers)
    (-sum((reward - 0.5) * logp_of(reference, answer)
          for reward, answer in zip((1.0, 0.0, 1.0), answers, strict=True)) / tokens).backward()
    for one, other in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


def off_policy(codec: Codec, model: Decoder, distances: list[float], **config: Any) -> tuple[GRPO, list[Answer]]:
    """An objective whose sampler gave the ids of two answers, of rewards 1 and 0, by so much more in log p."""
    texts = ("다", "하나 둘 셋")
    answers = [spelled(codec, [("user", "말해 봐")], text) for text in texts]
    completions = []
    for text, answer, distance in zip(texts, answers, distances, strict=True):
        ids, targets = padded([answer], 64, 0)
        own = answer_logprobs(model, ids, targets)[targets != -100].detach()
        completions.append(Sampled(codec.encode(text), True, (own[:-1] + distance).tolist()))
    config = {"batch": 1, "group": 2, "rounds": 1, **config}
    return GRPO(OneQuestion(), codec, GRPOConfig(**config), seed=1, sampler=Scripted(completions)), answers


def gradients(model: Decoder, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def words_of(model: Decoder, answer: Answer) -> torch.Tensor:
    """log p of each of an answer's tokens, by the model's logits and nothing else."""
    whole = torch.tensor([*answer.prompt, *answer.answer])
    logp = model(whole[None, :-1])[0].log_softmax(-1)
    return logp[torch.arange(len(whole) - 1), whole[1:]][len(answer.prompt) - 1 :]


@pytest.mark.parametrize("distances", [[0.1, 0.1], [-0.5, -1.5], [0.0, -3.0]])
def test_a_token_counts_by_the_samplers_probability_up_to_a_limit(codec: Codec, distances: list[float]) -> None:
    """Truncated importance sampling: grad = -sum of min(ratio, 2) * advantage * grad log p, over all tokens. The token
    that ends an answer is the sampler's too, but it does not tell of it."""
    model = fresh(codec)
    objective, answers = off_policy(codec, model, distances)
    batch = objective.batch(model, 0)
    loss, numbers = objective.loss(model, batch)
    counts = [len(answer.answer) for answer in answers]
    parts = []
    for answer, advantage, distance in zip(answers, (0.5, -0.5), distances, strict=True):
        weight = torch.full((len(answer.answer),), min(math.exp(-distance), 2.0))
        weight[-1] = 1
        parts.append((weight * advantage * words_of(model, answer)).sum())
    expected = gradients(model, -sum(parts) / sum(counts))
    torch.testing.assert_close(gradients(model, loss), expected, rtol=1e-3, atol=1e-6)
    off = sum(abs(distance) * (count - 1) for distance, count in zip(distances, counts, strict=True))
    assert float(numbers["mismatch"]) == pytest.approx(off / sum(counts), rel=1e-3)
    beyond = sum(count - 1 for distance, count in zip(distances, counts, strict=True) if distance < -math.log(2))
    assert float(numbers["clipped"]) == pytest.approx(beyond / sum(counts))


@pytest.mark.parametrize("distances", [[0.1, 0.1], [-0.26, 0.3], [-0.2, -0.26], [0.3, -0.1]])
def test_clip_higher_is_dapos(codec: Codec, distances: list[float]) -> None:
    """arXiv 2503.14476, equation 8: min(ratio * A, clip(ratio, 0.8, 1.28) * A), over all tokens."""
    model = fresh(codec)
    objective, answers = off_policy(codec, model, distances, importance="clip")
    loss, _ = objective.loss(model, objective.batch(model, 0))
    parts = []
    for answer, advantage, distance in zip(answers, (0.5, -0.5), distances, strict=True):
        logp = words_of(model, answer)
        told = logp.detach() + distance
        told[-1] = logp[-1].detach()
        ratio = (logp - told).exp()
        parts.append(torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage).sum())
    expected = -sum(parts) / sum(len(answer.answer) for answer in answers)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients(model, loss), gradients(model, expected), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("distances", [[0.1, 0.1], [-0.5, 0.4], [0.3, -0.1]])
def test_a_sequences_ratio_is_gspos(codec: Codec, distances: list[float]) -> None:
    """arXiv 2507.18071, equations 5 to 7: the ratio's geometric mean over an answer, clipped; the mean over answers."""
    model = fresh(codec)
    objective, answers = off_policy(codec, model, distances, importance="sequence", clip_low=0.2, clip_high=0.28)
    batch = objective.batch(model, 0)
    loss = sum(objective.loss(model, part)[0] for part in batch.parts(0, batch.size, 1))
    parts = []
    for answer, advantage, distance in zip(answers, (0.5, -0.5), distances, strict=True):
        logp = words_of(model, answer)
        told = logp.detach() + distance
        told[-1] = logp[-1].detach()
        ratio = (logp - told).mean().exp()
        parts.append(torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage))
    expected = -sum(parts) / 2
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients(model, loss), gradients(model, expected), rtol=1e-3, atol=1e-6)


def test_a_constant_length_does_not_favour_short_batches(codec: Codec) -> None:
    """Dr. GRPO divides by what answers may be long, not by what they are."""
    model = fresh(codec)
    by_tokens, answers = off_policy(codec, model, [0.0, 0.0])
    constant, _ = off_policy(codec, model, [0.0, 0.0], length="constant", max_tokens=20)
    one, other = (gradients(model, objective.loss(model, objective.batch(model, 0))[0])
                  for objective in (by_tokens, constant))
    tokens = sum(len(answer.answer) for answer in answers)
    torch.testing.assert_close(other * 40, one * tokens, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("overlong", "rows", "advantages"), [
    ("drop", 3, [0.5, -0.5, 0.5]), ("keep", 4, [0.5, -0.5, 0.5, -0.5]),
    ("soft", 4, [0.8125, -0.1875, 0.5625, -1.1875])])
def test_answers_that_are_cut_off_or_nearly_are_treated_as_asked(codec: Codec, overlong: str, rows: int,
                                                                 advantages: list[float]) -> None:
    """DAPO, equation 13: within the last 4 of 10 tokens an answer loses a quarter a token, and 1 when it was cut."""
    letter, end = codec.encode("다")[0], codec.encode(".")[0]
    lengths = ((letter, 3, True), (end, 5, True), (letter, 7, True), (end, 10, False))
    completions = [Sampled([token] * length, ended) for token, length, ended in lengths]
    config = GRPOConfig(batch=1, group=4, max_tokens=10, margin=4, overlong=overlong)  # type: ignore[arg-type]
    batch = GRPO(OneQuestion(), codec, config, seed=1, sampler=Scripted(completions)).batch(fresh(codec), 0)
    assert batch.size == rows
    assert batch.rows["advantage"].tolist() == pytest.approx(advantages)
    assert batch.numbers["reward"] == 0.5


def test_a_question_that_does_not_fit_is_told(codec: Codec) -> None:
    objective = GRPO(OneQuestion(), codec, GRPOConfig(max_tokens=60), seed=1)
    with pytest.raises(DokjaError, match=r"task\.max_tokens = 60 do not fit into the model's context of 64"):
        objective.batch(fresh(codec), 0)


def test_a_batch_without_a_signal_teaches_nothing(codec: Codec) -> None:
    same = [Sampled(codec.encode("다"), True)] * 4
    objective = GRPO(OneQuestion(), codec, GRPOConfig(batch=1, group=4), seed=1, sampler=Scripted(same))
    model = fresh(codec)
    batch = objective.batch(model, 0)
    assert batch.numbers["signal"] == 0
    loss, _ = objective.loss(model, batch)
    loss.backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_exercises_are_asked_by_number() -> None:
    questions = ExerciseQuestions("clock", seed=2)
    some = questions.questions(5, 3)
    assert [question.prompt for question in questions.questions(0, 8)][5:] == [question.prompt for question in some]
    assert all(questions.reward(question, question.item["answer"]) == 1 for question in some)
    assert questions.reward(some[0], "모릅니다") == 0
    assert verify(some[0].item["exercise"], some[0].item["answer"])
    with pytest.raises(DokjaError, match="no skill 'flying'"):
        ExerciseQuestions("flying", seed=2)


def test_rewards_may_be_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def length(prompt, answer, item):\n    return -abs(len(answer) - item['n'])\n")
    (tmp_path / "q.jsonl").write_text('{"prompt": "가", "n": 3}\n\n{"prompt": "나", "n": 1}\n')
    questions = FileQuestions([tmp_path / "q.jsonl"], find_reward(f"{tmp_path / 'mine.py'}:length"))
    first, second, again = questions.questions(0, 3)
    assert (first, second.prompt) == (again, "나")
    assert questions.reward(first, "하나") == -1
    for name, said in (("nothing", "names no reward"), (f"{tmp_path / 'mine.py'}:no", "AttributeError"),
                       ("no.such.module:f", "ModuleNotFoundError")):
        with pytest.raises(DokjaError, match=said):
            find_reward(name)
    (tmp_path / "q.jsonl").write_text('{"question": "가"}\n')
    with pytest.raises(DokjaError, match=r"q\.jsonl:1 is no question"):
        FileQuestions([tmp_path / "q.jsonl"], short)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_distillation_in_pieces_is_the_plain_formula(direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dokja.build.post.distil._CHUNK", 7)
    spec = tiny_spec("solar-open")
    student, teacher = Decoder(spec), Decoder(spec)
    initialise(student, 1)
    initialise(teacher, 2)
    config = DistilConfig(batch=2, temperature=2.0, direction=direction, share=0.7)  # type: ignore[arg-type]
    objective = Distil(tiny_data(), teacher, config, seed=1)
    batch = objective.batch(student, 0)
    loss = sum(objective.loss(student, part)[0] for part in batch.parts(0, 2, 1))
    ids, targets, weights = (batch.rows[name] for name in ("ids", "targets", "weights"))
    ours, theirs = student(ids), teacher(ids)
    p, q = (theirs / 2).log_softmax(-1), (ours / 2).log_softmax(-1)
    kl = (p.exp() * (p - q) if direction == "forward" else q.exp() * (q - p)).sum(-1)
    ce = F.cross_entropy(ours.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none").view_as(targets)
    expected = ((0.7 * 4 * kl + 0.3 * ce) * weights).sum() / weights.sum()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_a_student_comes_near_its_teacher() -> None:
    spec = tiny_spec("solar-open")
    teacher = Decoder(spec)
    initialise(teacher, 2)
    with torch.no_grad():
        teacher.head.weight.mul_(4)  # so that it has opinions
    objective = Distil(tiny_data(), teacher, DistilConfig(batch=4, share=1.0), seed=1)
    run = Trainer(spec, objective, TrainConfig(seed=1, optim=RATES), Schedule([60], shape="constant"))
    found = [run.step().numbers["divergence"] for _ in range(40)]
    assert found[-1] < 0.6 * found[0]


def test_another_vocabulary_is_refused(codec: Codec) -> None:
    objective = Distil(tiny_data(), fresh(codec), DistilConfig(), seed=1)
    with pytest.raises(DokjaError, match="the teacher has 400 tokens, the student 96"):
        objective.batch(Decoder(tiny_spec("solar-open")), 0)


def test_a_teachers_answers_are_conversations_to_train_on(codec: Codec, talking: Decoder, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    kept = teacher_answers(talking, codec, ["말해 봐"] * 40, out, seed=1, batch=16, max_tokens=24)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert 20 < len(rows) == kept <= 40
    assert {row["messages"][1]["content"] for row in rows} >= {"나다", "바람이 분다"}
    assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in rows)
