"""A.X 4.0 (SK Telecom): repository SKT-AI/A.X-4.0, checkpoint class `Qwen2ForCausalLM`.

Qwen2.5 trained on, with a Korean vocabulary: a Llama block with biases on Q, K and V.
"""

from collections.abc import Collection

from ...errors import DokjaError
from ..chat.syntax import PLAIN_HERMES
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import (
    expect,
    layer_types,
    need,
    read_attention,
    read_model,
    read_rope,
    write_attention,
    write_model,
    write_rope,
)
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, Attention, Layer, ModelSpec, Rope
from .family import Family, Release


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "hidden_act", "silu")
    everywhere = read_attention(config, rope=read_rope(config), bias=True)
    ffn = MLP(need(config, "intermediate_size"))
    if not config.get("use_sliding_window"):
        return read_model(config, (Layer(everywhere, ffn),) * need(config, "num_hidden_layers"))
    local = read_attention(config, rope=read_rope(config), bias=True, window=need(config, "sliding_window"))
    kinds = config.get("layer_types") or [  # the last layers have the window
        "sliding_attention" if i >= need(config, "max_window_layers") else "full_attention"
        for i in range(need(config, "num_hidden_layers"))]
    return read_model(config, tuple(Layer(local if kind == "sliding_attention" else everywhere, ffn)
                                    for kind in kinds))


def _write(spec: ModelSpec) -> Config:
    mixers = [layer.mixer for layer in spec.layers]
    first, ffn = mixers[0], spec.layers[0].ffn
    windows = {mixer.window for mixer in mixers} - {None}
    if not (isinstance(first, Attention) and first.rope and isinstance(ffn, MLP) and len(windows) <= 1):
        raise DokjaError(f"{spec.name} is no Qwen2 and cannot be written as one")
    local: Config = {"sliding_window": windows.pop(), "layer_types": layer_types(spec.layers)} if windows else {}
    return {**write_model(spec), **write_attention(first), **write_rope(first.rope),
            "intermediate_size": ffn.width, "use_sliding_window": bool(local), **local}


def _release(name: str, repository: str, *, width: int, layers: int, heads: int, kv_heads: int, hidden: int,
             context: int) -> Release:
    attention = Attention(heads, kv_heads, 128, rope=Rope(theta=1_000_000), bias=True)
    return Release(
        spec=ModelSpec(
            name=name, vocab=102_400, width=width, layers=(Layer(attention, MLP(hidden)),) * layers,
            context=context,  # model card
            norm_eps=1e-6,
            unverified=("vocab (recalled)", "all other dimensions (those of Qwen2.5, its stated base)", "chat markers"),
        ),
        repository=repository,
        licence="Apache-2.0",
        source="SKT-AI/A.X-4.0 README; Qwen2.5's dimensions",
    )


FAMILY = Family(
    name="ax-4",
    title="A.X 4.0",
    company="SK Telecom",
    releases=(
        _release("a.x-4.0-72b", "skt/A.X-4.0", width=8192, layers=80, heads=64, kv_heads=8, hidden=29568,
                 context=131_072),
        _release("a.x-4.0-light-7b", "skt/A.X-4.0-Light", width=3584, layers=28, heads=28, kv_heads=4, hidden=18944,
                 context=16_384),
    ),
    reference="transformers Qwen2ForCausalLM",
    checkpoint=Checkpoint(("qwen2",), "Qwen2ForCausalLM", _read, _write, llama.NAMES),
    template=ChatTemplate(
        "ax-4", "chatml", syntax=PLAIN_HERMES, note="no reasoning; that is A.X 4.1",
        unverified=("exact turns (ChatML and Hermes calls as of Qwen2.5, its base)",),
    ),
)
