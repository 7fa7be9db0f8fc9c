"""Kanana-2 against transformers' DeepseekV3ForCausalLM: no query latent, two shared experts, one group."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import check
from official import published_size
from test_parity_deepseek_v3 import config
from transformers import DeepseekV3ForCausalLM

from dokja.models.cost import parameters
from dokja.models.families import FAMILIES


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", [4, 5])  # with and without YaRN
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    small = config(seed, q_lora_rank=None, n_shared_experts=2, n_group=1, topk_group=1, first_k_dense_replace=1)
    check(DeepseekV3ForCausalLM(small), tmp_path, length=23, seed=seed)


def test_official_sizes_are_those_of_the_published_class() -> None:
    found = FAMILIES["kanana-2"]
    for one in found.releases:
        assert published_size(found, one) == parameters(one.spec).total
