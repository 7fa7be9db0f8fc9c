"""Completions, embeddings, tokens: on the real engine wherever log-probabilities and states count."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest
import torch
from scripted import Running

from dokja.models.model import Model
from dokja.serve import LocalService, Settings, create_app
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.sizing import Limits
from dokja.serve.text import Vocabulary

TEXT = "오늘은 날씨가"


@pytest.fixture(scope="module")
def service(loaded: Model) -> LocalService:
    return LocalService({"pocket": Engine(loaded, Limits(context=128, tokens=1024, rows=8))})


@pytest.fixture(scope="module")
def url(service: LocalService) -> Iterator[str]:
    running = Running(create_app(service, lambda: None, settings=Settings(pages=False)))
    yield running.url
    running.close()


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)


def complete(client: openai.OpenAI, **more):
    return client.completions.create(**{"model": "pocket", "prompt": TEXT, "max_tokens": 8, "seed": 1, **more})


def test_text_and_ids_are_the_same_prompt(client: openai.OpenAI, loaded: Model):
    ids = loaded.codec.encode(TEXT)
    text, by_ids = complete(client), complete(client, prompt=ids)
    assert text.choices[0].text == by_ids.choices[0].text
    assert text.usage.prompt_tokens == len(ids)
    assert text.model_extra["notice"]["generated"] is True
    assert complete(client, max_tokens=None).usage.completion_tokens <= 16


def test_several_prompts_several_answers(client: openai.OpenAI):
    answer = complete(client, prompt=[TEXT, "나는 학교에"], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    alone = complete(client)
    assert answer.choices[0].text == alone.choices[0].text
    assert complete(client, prompt="나는 학교에", seed=3).choices[0].text == answer.choices[2].text
    assert answer.usage.prompt_tokens < 2 * 2 * alone.usage.prompt_tokens


def test_streamed_and_whole_are_the_same(client: openai.OpenAI):
    whole = complete(client, logprobs=1)
    pieces = list(complete(client, logprobs=1, stream=True, stream_options={"include_usage": True}))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == whole.choices[0].text
    assert pieces[-1].usage == whole.usage
    told = ["notice" in piece.model_extra for piece in pieces if piece.choices]
    assert told == [True, *[False] * (len(told) - 2), True]
    offsets = [offset for piece in pieces if piece.choices and piece.choices[0].logprobs
               for offset in piece.choices[0].logprobs.text_offset]
    assert len(offsets) == len(whole.choices[0].logprobs.tokens) == whole.usage.completion_tokens


def test_echo_scores_a_text(client: openai.OpenAI, loaded: Model):
    """What evaluation harnesses ask for: the log-probability of every token of a given text, and nothing more."""
    found = complete(client, echo=True, max_tokens=0, logprobs=2, temperature=0).choices[0]
    ids = loaded.codec.encode(TEXT)
    with torch.inference_mode():
        expected = loaded.decoder(torch.tensor([ids])).float().log_softmax(-1)[0]
    assert found.text == TEXT
    assert found.finish_reason == "length"
    assert found.logprobs.token_logprobs[0] is None
    assert found.logprobs.token_logprobs[1:] == pytest.approx(
        [expected[at, token].item() for at, token in enumerate(ids[1:])], abs=1e-4)
    assert [len(top) for top in found.logprobs.top_logprobs[1:]] == [2] * (len(ids) - 1)


@pytest.mark.parametrize("text", ["책 안녕하세요", "뷁 안녕하세요"])
def test_echo_tells_every_token_and_where_it_stands(client: openai.OpenAI, loaded: Model, text: str):
    """Also the first one, which has no log-probability; a part of a character is told as OpenAI tells it."""
    ids, vocabulary = loaded.codec.encode(text), Vocabulary(loaded.tokenizer)
    tokens = [vocabulary.text(token) for token in ids]
    data = [vocabulary.data(token) for token in ids]
    offsets = [len(b"".join(data[:at]).decode(errors="ignore")) for at in range(len(ids))]
    whole = complete(client, prompt=text, echo=True, max_tokens=2, logprobs=2, temperature=0).choices[0].logprobs
    assert whole.tokens[: len(ids)] == tokens
    assert whole.text_offset[: len(ids)] == offsets
    streamed = complete(client, prompt=ids, echo=True, max_tokens=2, logprobs=2, temperature=0, stream=True)
    first = next(iter(streamed)).choices[0].logprobs
    assert (first.tokens, first.text_offset) == (tokens, offsets)


@pytest.mark.parametrize(("changes", "status"), [
    ({"suffix": "x"}, 400), ({"best_of": 3}, 400), ({"prompt": []}, 422), ({"prompt": [[]]}, 422),
    ({"prompt": ""}, 400), ({"prompt": [99999]}, 400), ({"max_tokens": 0}, 422), ({"prompt": "가" * 2000}, 400),
    ({"model": "x"}, 404),
    ({"logit_bias": {"99999": 1}}, 400), ({"logprobs": 99}, 422),
])
def test_what_is_refused(url: str, changes, status):
    answer = httpx.post(f"{url}/v1/completions", json={"prompt": TEXT, **changes})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_embeddings(client: openai.OpenAI, url: str, loaded: Model):
    texts = [TEXT, "나는 학교에 갑니다."]
    found = client.embeddings.create(model="pocket", input=texts)  # the client asks for base64
    vectors = np.array([one.embedding for one in found.data])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    with torch.inference_mode():
        hidden = loaded.decoder.hidden(torch.tensor([loaded.codec.encode(TEXT)]))
        states = loaded.decoder.norm(hidden)[0].mean(0)
    assert vectors[0] == pytest.approx((states / states.norm()).numpy(), abs=1e-4)
    plain = httpx.post(f"{url}/v1/embeddings", json={"input": texts[0], "encoding_format": "float"}).json()
    assert plain["data"][0]["embedding"] == pytest.approx(vectors[0].tolist(), abs=1e-4)
    assert plain["usage"]["prompt_tokens"] == len(loaded.codec.encode(TEXT))
    assert httpx.post(f"{url}/v1/embeddings", json={"input": "가", "dimensions": 8}).status_code == 400
    assert httpx.post(f"{url}/v1/embeddings", json={"input": "가" * 2000}).status_code == 400


def test_tokens_there_and_back(url: str, loaded: Model):
    found = httpx.post(f"{url}/tokenize", json={"prompt": TEXT, "return_token_strs": True}).json()
    assert found["tokens"] == loaded.codec.encode(TEXT)
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert found["max_model_len"] == 128
    assert httpx.post(f"{url}/detokenize", json={"tokens": found["tokens"]}).json() == {"prompt": TEXT}
    talk = httpx.post(f"{url}/tokenize", json={"messages": [{"role": "user", "content": "안녕"}]}).json()
    assert talk["tokens"] == loaded.codec.prompt([("user", "안녕")])
    assert httpx.post(f"{url}/tokenize", json={}).status_code == 422
    assert httpx.post(f"{url}/detokenize", json={"tokens": [10**6]}).status_code == 400
