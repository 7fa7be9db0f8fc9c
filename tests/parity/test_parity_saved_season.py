"""A model that was trained here, saved as a published folder, is the same model in transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import dokja
from dokja.build.document import Document
from dokja.build.tokenizer import train_tokenizer
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.folder import save_folder
from dokja.models.generate import Sampling
from dokja.models.init import initialise
from dokja.models.scaling import scaled

TEXT = "안녕하세요? 반갑습니다. 오늘은 날씨가 좋습니다. 나는 학교에 갑니다."
PROMPTS = ["안녕하세요? 오늘은", "나는", "hello, world 325"]


def trained(path: Path, name: str) -> None:
    """A dokja folder, as a season leaves it; the weights are random."""
    chosen = family(name)
    codec = train_tokenizer([Document("test", text=TEXT)], 400, chosen.chat, max_bytes=10**5)
    model = Decoder(scaled(chosen.spec, 250_000, context=128, vocab=codec.vocab))
    initialise(model, 3)
    with torch.no_grad():
        model.head.weight.mul_(8)  # no two tokens are nearly as likely
    save_folder(path, model, codec, {"family": name, "team": "시험"})


@pytest.mark.parametrize("name", ["k-exaone", "solar-open"])
def test_transformers_gives_the_same_ids_tokens_and_turns(tmp_path: Path, name: str) -> None:
    trained(tmp_path / "dokja", name)
    ours = dokja.load(tmp_path / "dokja")
    dokja.save(ours, tmp_path / "hf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    again = dokja.load(tmp_path / "hf")
    assert again.family is family(name)
    assert again.card["team"] == "시험"
    assert set(again.stop) == set(ours.stop)
    for prompt in PROMPTS:
        ids = tokenizer(prompt).input_ids
        assert ids == ours.codec.encode(prompt)
        written = theirs.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids):]
        text = tokenizer.decode(written, skip_special_tokens=True)
        for model in (ours, again):
            assert model.generate([prompt], Sampling(16)) == [text]
            assert "".join(model.stream(prompt, Sampling(16))) == text.rstrip("\ufffd")
    turns = [("user", "안녕"), ("assistant", "네."), ("user", "학교")]
    chat = [{"role": role, "content": content} for role, content in turns]
    templated = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert templated["input_ids"] == ours.codec.prompt(turns)


