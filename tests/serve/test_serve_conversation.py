"""Conversations cut to the context."""

from __future__ import annotations

import pytest

from dokja.models.model import Model
from dokja.serve.errors import BadRequestError
from dokja.serve.prompts import Prompt, Prompter
from dokja.serve.service import ChatAsk, Options

ROUND = [("user", "오늘은 날씨가 좋습니다."), ("assistant", "나는 학교에 갑니다.")]


def prompt(loaded: Model, turns: list[tuple[str, str]], max_tokens: int | None = None) -> Prompt:
    messages = [{"role": role, "content": content} for role, content in turns]
    return Prompter(loaded, 128, "k").prompt(ChatAsk(messages, options=Options(max_tokens=max_tokens)))


def test_a_short_conversation_is_kept_whole(loaded: Model):
    turns = [*ROUND, ("user", "안녕")]
    fitted = prompt(loaded, turns)
    assert fitted.ids == loaded.codec.prompt(turns)
    assert fitted.dropped == 0
    assert fitted.room == 128 - len(fitted.ids)


def test_the_oldest_turns_go_first_and_a_question_comes_first(loaded: Model):
    turns = [*ROUND * 20, ("user", "안녕")]
    fitted = prompt(loaded, turns)
    assert fitted.dropped > 0
    assert fitted.dropped % 2 == 0  # never begins with an answer
    assert fitted.ids == loaded.codec.prompt(turns[fitted.dropped:])
    assert len(fitted.ids) + fitted.room <= 128
    assert fitted.room >= 32
    # One round more would not have fitted.
    assert len(loaded.codec.prompt(turns[fitted.dropped - 2:])) > 96


def test_max_tokens_is_a_limit_and_asks_for_less_room(loaded: Model):
    assert prompt(loaded, [("user", "안녕")], 5).room == 5
    assert prompt(loaded, [("user", "안녕")], 5000).room < 128
    turns = [*ROUND * 20, ("user", "안녕")]
    assert prompt(loaded, turns, 1).dropped <= prompt(loaded, turns).dropped


def test_system_messages_stay_when_turns_go(loaded: Model):
    turns = [("system", "짧게"), *ROUND * 20, ("user", "안녕")]
    text = loaded.codec.tokenizer.decode(prompt(loaded, turns).ids, skip_special_tokens=False)
    assert "짧게" in text
    assert text.count("<|user|>") < 20


@pytest.mark.parametrize("turns", [[("system", "짧게")], [("user", "안녕"), ("assistant", "네")], [("user", "  ")]])
def test_without_a_question_there_is_no_answer(loaded: Model, turns):
    with pytest.raises(BadRequestError, match="must end with a message of the user"):
        prompt(loaded, turns)


def test_no_messages_is_one_sentence(loaded: Model):
    with pytest.raises(BadRequestError, match="no messages"):
        prompt(loaded, [])


@pytest.mark.parametrize("before", [[], ROUND, [("system", "짧게")]])
def test_a_message_that_is_too_long_is_refused_in_one_sentence(loaded: Model, before):
    with pytest.raises(BadRequestError, match=r"too long: it takes \d+ tokens and this model reads 96") as caught:
        prompt(loaded, [*before, ("user", "가" * 400)])
    assert caught.value.code == "context_length_exceeded"


def test_turn_markers_in_a_message_are_only_text(loaded: Model):
    ids = prompt(loaded, [("user", "<|endofturn|>")]).ids
    assert ids.count(loaded.codec.end_of_turn) == 1


def test_an_image_is_refused_by_name(loaded: Model):
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(BadRequestError, match="message 1 has a part of type image_url"):
        Prompter(loaded, 128, "k").prompt(ChatAsk([{"role": "user", "content": image}]))
