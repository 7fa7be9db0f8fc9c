"""VAETKI against a plain, independent reading of its public description, on random small configurations.

The published files are written here from the reference's weights, under the names that the public plug-in reads.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from harness import GRADIENTS, assert_close, in_chunks
from published_weights import randomise
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from vaetki_reference import Config, Reference, shapes

from dokja.models.checkpoint.layout import places
from dokja.models.checkpoint.published import read_published, write_published
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.models.generate import Sampling, generate

LAYOUT = FAMILIES["vaetki"].checkpoint
LENGTH = 14


def config(seed: int) -> Config:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    pattern = draw.choice(("LG", "LLG", "LLLG"))
    return Config(
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=len(pattern),
        first_k_dense_replace=draw.choice((0, 1)), intermediate_size=draw.choice((40, 64)),
        moe_intermediate_size=8 * draw.choice((2, 3)), n_routed_experts=8, n_shared_experts=draw.choice((1, 2)),
        num_experts_per_tok=draw.choice((2, 3)), routed_scaling_factor=draw.choice((1.0, 2.5)),
        num_attention_heads=draw.choice((2, 3)), q_lora_rank=None if seed == 3 else draw.choice((20, 40)),
        kv_lora_rank=draw.choice((12, 24)), qk_nope_head_dim=draw.choice((8, 16)), qk_rope_head_dim=8,
        v_head_dim=draw.choice((8, 12)), sliding_window=draw.choice((3, 5)),
        layer_types=tuple("full_attention" if kind == "G" else "sliding_attention" for kind in pattern),
        rope_theta=draw.choice((1e3, 1e4)), rope_theta_global=draw.choice((1e5, 1e6)),
        rms_norm_eps=draw.choice((1e-5, 1e-6)),
    )


def publish(small: Config, seed: int, folder: Path) -> tuple[Reference, Decoder]:
    """The reference with random weights, and our reading of its published files."""
    weights = {name: torch.empty(shape) for name, shape in shapes(small).items()}
    randomise(weights, seed, zero_centred=True)
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    table = {"model_type": "vaetki", "architectures": ["VaetkiForCausalLM"], "hidden_act": "silu",
             "norm_topk_prob": True, "max_position_embeddings": 64, **asdict(small)}
    (folder / "config.json").write_text(json.dumps(table))
    return Reference(small, weights), read_published(folder)


def tokens(seed: int, rows: int = 1, length: int = LENGTH) -> Tensor:
    return torch.randint(97, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    reference, ours = publish(config(seed), seed, tmp_path / "theirs")
    ids = tokens(seed, rows=2)
    theirs = torch.stack([reference.logits(row.tolist()) for row in ids])
    expected = theirs.detach().float()
    with torch.no_grad():
        assert_close(in_chunks(ours, ids, 1), expected, "token by token with a cache")
        assert_close(in_chunks(ours, ids, 5), expected, "in chunks of five with a cache")
    found = ours(ids)
    assert_close(found, expected, "whole sequences")
    for logits in (theirs, found):
        nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    assert LAYOUT is not None
    table = places(ours.state_dict(), ours.spec, LAYOUT.names)
    assert set(table) == set(reference.weights)
    for name, place in table.items():
        gradient = reference.weights[name].grad
        gradient = torch.zeros(place.shape, dtype=torch.double) if gradient is None else gradient  # an unchosen expert
        error = (place.write(gradients[place.ours]) - gradient).norm() / gradient.norm().clamp(min=1e-6)
        assert error < GRADIENTS, f"gradient of {name}: relative error {error:.1e}"


def test_our_files_are_the_published_ones(tmp_path: Path) -> None:
    small = replace(config(0), first_k_dense_replace=1)  # without dense layers nothing tells their width
    _, ours = publish(small, 0, tmp_path / "theirs")
    assert LAYOUT is not None
    write_published(tmp_path / "ours", ours, LAYOUT)
    written, expected = (load_file(tmp_path / side / "model.safetensors") for side in ("ours", "theirs"))
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in expected.items())
    table = json.loads((tmp_path / "ours" / "config.json").read_text())
    table["layer_types"] = tuple(table["layer_types"])
    assert Config(**{field.name: table[field.name] for field in fields(Config)}) == small


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("window", [1, 2, LENGTH - 1, LENGTH, 64])
def test_every_window_is_the_described_one(window: int, tmp_path: Path) -> None:
    """A window of 1 sees only itself; one as long as the sequence is no window."""
    small = replace(config(1), sliding_window=window, num_hidden_layers=2, first_k_dense_replace=1,
                    layer_types=("sliding_attention", "full_attention"))
    reference, ours = publish(small, 1, tmp_path / "theirs")
    ids = tokens(5)
    with torch.no_grad():
        expected = reference.logits(ids[0].tolist()).float()[None]
        assert_close(ours(ids), expected, f"window {window}")
        assert_close(in_chunks(ours, ids, 3), expected, f"window {window}, with a cache")


def test_greedy_text_is_the_described_one(tmp_path: Path) -> None:
    reference, ours = publish(config(2), 2, tmp_path / "theirs")
    prompt = tokens(3, length=6)[0].tolist()
    text = list(prompt)
    with torch.no_grad():
        for _ in range(6):
            text.append(int(reference.logits(text)[-1].argmax()))
    assert generate(ours, [prompt], Sampling(max_tokens=6)) == [text[len(prompt):]]


def test_another_scaling_of_global_layers_replaces_the_stretch(tmp_path: Path) -> None:
    """The plug-in divides global frequencies by 8 only where config.json scales them by nothing else."""
    assert LAYOUT is not None
    official = FAMILIES["vaetki"].spec
    table = {"model_type": "vaetki", **LAYOUT.write(official)}
    assert "rope_scaling" not in table
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    spec = LAYOUT.read({**table, "rope_scaling": yarn}, ())
    assert {type(layer.mixer.rope.scaling).__name__ for layer in spec.layers} == {"NoneType", "Yarn"}
    again = LAYOUT.read({"model_type": "vaetki", **LAYOUT.write(spec)}, ())
    assert again == spec
