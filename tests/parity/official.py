"""Comparisons that several families share beside `harness.check`: official sizes, greedy text, nothing neutral."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from dokja.models.decoder import Decoder
from dokja.models.families import Family, Release
from dokja.models.generate import Sampling, generate, stream


def published_size(found: Family, one: Release, *, buffers: bool = True) -> int:
    """Numbers in the transformers model of an official config.json as we write it; nothing is allocated.

    buffers: whether those of its state that are no parameters (router biases) count.
    """
    layout = found.checkpoint
    assert layout is not None
    config = AutoConfig.for_model(layout.model_types[0], **layout.write(one.spec))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert type(model).__name__.lower() == layout.architecture.lower()  # K-EXAONE's files spell MoE, its class Moe
    tied = {"lm_head.weight"} if one.spec.tied else set()
    tensors = model.state_dict() if buffers else dict(model.named_parameters())
    return sum(tensor.numel() for name, tensor in tensors.items() if name not in tied)


def check_text(folder: Path, ours: Decoder) -> None:
    """Both sides go on greedily from a cache; prompts of different lengths share our batch.

    folder: where `harness.check` left the published files.
    """
    reference = AutoModelForCausalLM.from_pretrained(folder / "theirs", dtype=torch.float32)
    draws = torch.Generator().manual_seed(3)
    prompts = [torch.randint(ours.spec.vocab, (length,), generator=draws).tolist() for length in (3, 17, 9)]
    expected = []
    for prompt in prompts:
        text = reference.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                                  max_new_tokens=12, do_sample=False, eos_token_id=-1, pad_token_id=0)
        expected.append(text[0, len(prompt):].tolist())
    assert generate(ours, prompts, Sampling(max_tokens=12)) == expected
    assert [list(stream(ours, prompt, Sampling(max_tokens=12))) for prompt in prompts] == expected


@torch.no_grad()
def check_nothing_is_neutral(reference: PreTrainedModel, ids: Tensor) -> None:
    """Neutral values would hide mistakes: every tensor of the reference, set to zero, changes the logits."""
    expected = reference(ids, use_cache=False).logits
    for name, tensor in reference.state_dict().items():
        kept = tensor.clone()
        tensor.zero_()
        change = (reference(ids, use_cache=False).logits - expected).abs().max() / expected.abs().max()
        assert change > 1e-3, f"{name} changes nothing"
        tensor.copy_(kept)
