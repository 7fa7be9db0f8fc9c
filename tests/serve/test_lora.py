"""LoRA adapters: equal to PEFT's own, chosen row by row, and one sentence for each that cannot be served."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from engine_models import CONTEXT, finish_all, prompt_of, tiny_decoder
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from dokja.errors import DokjaError
from dokja.models.checkpoint.layout import places
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.models.loading import load
from dokja.models.model import Model
from dokja.serve.engine.core import Core
from dokja.serve.engine.lora import Adapters
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.speculate import Speculator
from dokja.serve.engine.types import Request, SamplingParams
from dokja.serve.quantise import prepare

LIMITS = Limits(context=CONTEXT, tokens=600, rows=6, budget=32)


def write_adapter(folder: Path, model: Model, modules: list[str], seed: int, rank: int = 4, **config: Any) -> Path:
    """A random adapter of the published tensors whose names end so, as PEFT would save it."""
    assert model.family is not None
    assert model.family.checkpoint is not None
    shapes = {name.removesuffix(".weight"): place.shape for name, place in places(
        model.decoder.state_dict(), model.spec, model.family.checkpoint.names).items()}
    draws = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        if any(name.endswith(module) for module in modules) and not name.startswith(("mtp", "model.mtp")):
            tensors[f"base_model.model.{name}.lora_A.weight"] = torch.randn(rank, shape[1], generator=draws) * 0.3
            tensors[f"base_model.model.{name}.lora_B.weight"] = torch.randn(shape[0], rank, generator=draws) * 0.3
    assert tensors
    folder.mkdir(parents=True)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 8, **config}))
    return folder


def tiny_model(name: str) -> Model:
    return Model(tiny_decoder(name), family=FAMILIES[name])


def merged(model: Model, folder: Path) -> Decoder:
    """A copy of the model with the adapter in its weights."""
    assert model.family is not None
    assert model.family.checkpoint is not None
    decoder = Decoder(model.spec).eval()
    decoder.load_state_dict(model.decoder.state_dict())
    state, tensors = decoder.state_dict(), load_file(str(folder / "adapter_model.safetensors"))
    for name, place in places(state, model.spec, model.family.checkpoint.names).items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in tensors:
            down, up = tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"]
            place.view(state[place.ours]).add_(8 / len(down) * (up @ down))
    return decoder


@torch.no_grad()
def test_logits_equal_those_of_peft(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=200, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
    theirs = LlamaForCausalLM(config)
    theirs.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(theirs, peft.LoraConfig(
        r=4, lora_alpha=12, use_rslora=True, rank_pattern={"v_proj": 2}, alpha_pattern={"layers.1.mlp.down_proj": 5},
        target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            weight.normal_(std=0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.randint(200, (2, 20))
    want = adapted.eval()(ids).logits
    model = load(tmp_path / "base")
    plain = model.decoder(ids)
    adapters = Adapters(model, {"a": tmp_path / "adapter"})
    adapters.install(model.decoder)
    adapters.step.place(["a"] * 40)
    assert (model.decoder(ids) - want).abs().max() < 1e-4 * want.abs().max()
    assert (plain - want).abs().max() > 0.1 * want.abs().max()
    adapters.step.place([None] * 40)
    assert torch.equal(model.decoder(ids), plain)


@pytest.mark.parametrize(("name", "modules"), [
    ("k-exaone", ["q_proj", "k_proj", "o_proj", "mlp.down_proj", "shared_experts.up_proj"]),
    ("vaetki", ["q_b_proj", "kv_a_proj_with_mqa", "o_proj", "gate_proj"]),
])
@pytest.mark.parametrize("prepared", [False, True])
def test_requests_with_different_adapters_share_steps(tmp_path: Path, name: str, modules: list[str],
                                                      prepared: bool) -> None:
    model = tiny_model(name)
    shared = [module for module in modules if not module.startswith("gate")]
    folders = {"a": write_adapter(tmp_path / "a", model, shared, 1), "b": write_adapter(tmp_path / "b", model,
                                                                                        modules[1:3], 2, rank=2)}
    decoders = {None: model.decoder} | {adapter: merged(model, folder) for adapter, folder in folders.items()}
    adapters = Adapters(model, folders)
    sampling = SamplingParams(max_tokens=6, temperature=0.0)
    asked = [Request(f"r{i}", prompt_of(5 + 7 * i), sampling, adapter=adapter)
             for i, adapter in enumerate([None, "a", "b", "a", None])]
    twice = [*asked, replace(asked[0], id="same prompt", adapter="b")]
    want: dict[str, list[int]] = {}
    for request in twice:
        decoder, tokens = decoders[request.adapter], list(request.prompt)
        with torch.inference_mode():
            for _ in range(sampling.max_tokens):
                tokens.append(int(decoder(torch.tensor([tokens]))[0, -1].argmax()))
        want[request.id] = tokens[len(request.prompt) :]
    served = Decoder(model.spec).eval()
    served.load_state_dict(model.decoder.state_dict())
    core = Core(prepare(served, "fp32") if prepared else served, LIMITS, Speculator(model.decoder), adapters)
    assert finish_all(core, {0: list(twice)}) == want
    assert {key: value for one in twice for key, value in finish_all(core, {0: [one]}).items()} == want
    assert want["r0"] != want["same prompt"]


def test_a_row_is_the_same_bit_for_bit_beside_any_other(tmp_path: Path) -> None:
    model = tiny_model("k-exaone")
    some = ["q_proj", "0.mlp.down_proj", "0.mlp.up_proj"]
    adapters = Adapters(model, {"a": write_adapter(tmp_path / "a", model, some, 1),
                                "b": write_adapter(tmp_path / "b", model, ["v_proj"], 2)})
    served = prepare(model.decoder, "fp32")
    adapters.install(served)
    layer = served.layers[0]
    x = torch.randn(1, 7, model.spec.width)
    names = ["a", None, "b", "a", None, "b", "a"]
    for module in (layer.mixer.qkv, layer.ffn):  # type: ignore[union-attr]
        adapters.step.place(names)
        together = module(x)  # type: ignore[operator]
        for i, name in enumerate(names):
            adapters.step.place([name])
            assert torch.equal(module(x[:, i : i + 1])[0, 0], together[0, i])  # type: ignore[operator]


@pytest.mark.parametrize(("change", "says"), [
    (lambda tensors, config: tensors.clear(), "no tensor"),
    (lambda tensors, config: config.update(r=3), "rank 4 and 4, the configuration says 3"),
    (lambda tensors, config: config.update(use_dora=True), "use_dora"),
    (lambda tensors, config: config.update(modules_to_save=["lm_head"]), "modules_to_save"),
    (lambda tensors, config: config.update(init_lora_weights="pissa"), "pissa"),
    (lambda tensors, config: config.pop("r"), "no rank"),
    (lambda tensors, config: tensors.pop(next(iter(tensors))), "only one of"),
    (lambda tensors, config: tensors.update(x=torch.zeros(2)), "x is no LoRA matrix"),
    (lambda tensors, config: tensors.update({f"base_model.model.foo.lora_{s}.weight": torch.zeros(4, 4) for s in "AB"}),
     "adapts foo, which"),
    (lambda tensors, config: tensors.update({f"base_model.model.model.layers.1.mlp.gate.lora_{s}.weight":
                                             torch.zeros(4, 4) for s in "AB"}), "routers"),
    (lambda tensors, config: tensors.update({f"base_model.model.lm_head.lora_{s}.weight": torch.zeros(4, 4)
                                             for s in "AB"}), "heads"),
    (lambda tensors, config: tensors.update({next(iter(tensors)): torch.zeros(4, 7)}), "another model"),
])
def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, change: Any, says: str) -> None:
    model = tiny_model("k-exaone")
    folder = write_adapter(tmp_path / "a", model, ["q_proj"], 1)
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(str(folder / "adapter_model.safetensors"))
    change(tensors, config)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    with pytest.raises(DokjaError, match=says) as caught:
        Adapters(model, {"a": folder})
    assert "\n" not in str(caught.value)


def test_a_missing_adapter_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match=r"adapter_config\.json cannot be read"):
        Adapters(tiny_model("k-exaone"), {"a": tmp_path})
