"""The shapes that everybody trains, and one formula for what a token of them costs."""

from __future__ import annotations

from typing import Any

from dokja.models.cost import attention_flops, training_flops_per_token
from dokja.models.spec import MLP, PERI, PRE, Attention, Layer, ModelSpec, MoE, Rope, Router

# RMSNorm, RoPE, SwiGLU, untied. nanochat's MLP of four widths without a gate has the same matrix FLOPs as this one's.
DENSE: dict[str, Any] = {"layers": 8, "width": 384, "heads": 6, "kv_heads": 6, "head_dim": 64, "hidden": 1024,
                         "vocab": 8192, "context": 512}
# nanochat's depth of 12, as large as GPT-2's smallest, for `benchmarks/gpu.py`.
D12: dict[str, Any] = {"layers": 12, "width": 768, "heads": 6, "kv_heads": 6, "head_dim": 128, "hidden": 2048,
                       "vocab": 32768, "context": 2048}
# What learns in minutes on two cores, for the quality part: a few hundred steps, where rates and schedules matter.
RACE: dict[str, Any] = {**DENSE, "layers": 6, "width": 320, "heads": 5, "kv_heads": 5, "hidden": 864, "context": 256}
# To try the quality part out where nothing is measured.
SMALL: dict[str, Any] = {**RACE, "layers": 4, "width": 192, "heads": 3, "kv_heads": 3, "hidden": 512}
# A Qwen3-MoE: QK-norm, softmax routing, no shared expert, a balance loss.
MIXTURE: dict[str, Any] = {**DENSE, "layers": 6, "hidden": 192, "experts": 16, "active": 4, "qk_norm": True}


def spec_of(shape: dict[str, Any], *, qk_norm: bool | None = None, mtp: int = 0, peri: bool = False,
            tied: bool = False) -> ModelSpec:
    """The architecture of a shape, with choices of ours."""
    wanted = shape.get("qk_norm", False) if qk_norm is None else qk_norm
    attention = Attention(shape["heads"], shape["kv_heads"], shape["head_dim"], rope=Rope(10_000.0), qk_norm=wanted)
    ffn = MoE(shape["experts"], shape["active"], shape["hidden"], 0, Router(bias=False, score="softmax")) \
        if shape.get("experts") else MLP(shape["hidden"])
    layer = Layer(attention, ffn, PERI if peri else PRE)
    return ModelSpec(name="shape", vocab=shape["vocab"], width=shape["width"], layers=(layer,) * shape["layers"],
                     context=shape["context"], tied=tied, mtp=(layer,) * mtp)


def flops_per_token(shape: dict[str, Any], matrices: int | None = None) -> float:
    """Matrix FLOPs of training on a token; `matrices`: of a peer with another architecture, what a token is multiplied
    by, with the attention of the shape."""
    spec = spec_of(shape)
    if matrices is None:
        return training_flops_per_token(spec, shape["context"])
    return 6 * matrices + 3 * sum(attention_flops(layer.mixer, shape["context"]) for layer in spec.layers)
