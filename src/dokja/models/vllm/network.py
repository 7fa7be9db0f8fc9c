"""Our decoder inside vLLM: the same network, with vLLM's paged attention as the cache of its mixers.

Nothing here knows a family. Latent attention is unfolded to heads before it is cached, which costs memory and changes
no number. One device; vLLM shards only what is written with its own layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.attention import Attention as VllmAttention

from ...errors import DokjaError
from ..checkpoint.kept import CONFIG
from ..checkpoint.layout import places
from ..checkpoint.published import empty, fit, read_spec
from ..checkpoint.shards import read_json, stored_tensors
from ..decoder import Decoder
from ..families import checkpoint_of
from ..indexer import Index
from ..spec import Attention, LatentAttention, Mixer


class PagedByVllm(nn.Module):
    """A mixer's cache (`models.cache.MixerCache`) whose pages are vLLM's."""

    def __init__(self, mixer: Mixer, length: int, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        self.length = length
        if isinstance(mixer, LatentAttention):
            heads, kv_heads, size = mixer.heads, mixer.heads, mixer.nope_dim + mixer.rope_dim
        else:
            heads, kv_heads, size = mixer.heads, mixer.kv_heads, mixer.head_dim
        # Most backends take few sizes of heads; zeros change no score. Published models need none.
        self.size = -(-size // 32) * 32
        self.attention = VllmAttention(heads, self.size, 1.0, kv_heads, cache_config=vllm_config.cache_config,
                                       per_layer_sliding_window=mixer.window, prefix=prefix)

    def attend(self, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, position_BT: Tensor, *, window: int | None,
               scale: float, sinks_H: Tensor | None = None) -> Tensor:
        assert sinks_H is None
        q, k, v = (nn.functional.pad(x, (0, self.size - x.shape[-1])).flatten(0, 1).flatten(1)
                   for x in (q_BTHD * scale, k_BTKD, v_BTKD))
        return self.attention(q, k, v).view(*q_BTHD.shape[:3], -1)[..., : v_BTKD.shape[-1]]

    def attend_latent(self, q_BTHD: Tensor, latent_BTR: Tensor, k_rope_BTP: Tensor, kv_up: nn.Linear,
                      position_BT: Tensor, *, mixer: LatentAttention, scale: float,
                      index: Index | None = None) -> Tensor:
        assert index is None
        heads = kv_up(latent_BTR).unflatten(-1, (mixer.heads, -1))
        k_nope, v = heads.split([mixer.nope_dim, mixer.v_dim], dim=-1)
        k = torch.cat((k_nope, k_rope_BTP.unsqueeze(2).expand(-1, -1, mixer.heads, -1)), dim=-1)
        return self.attend(q_BTHD, k, v, position_BT, window=mixer.window, scale=scale)


class DokjaForCausalLM(nn.Module):
    """vLLM's model contract around a `Decoder`."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        asked = vllm_config.model_config
        if vllm_config.parallel_config.world_size > 1:
            raise DokjaError(f"{asked.model} runs through Dokja's plugin on one device only: leave out tensor and "
                             "pipeline parallelism")
        folder = Path(asked.model)
        # As it was published: vLLM's copy has one rope where the layers may have several.
        config: dict[str, Any] = read_json(folder / CONFIG) if folder.is_dir() else asked.hf_config.to_dict()
        self.layout = checkpoint_of(config)
        stored = stored_tensors(folder) if folder.is_dir() else {}
        self.spec = read_spec(self.layout, config, stored, folder / CONFIG)
        if self.spec.indexed or any(isinstance(layer.mixer, Attention) and layer.mixer.sinks
                                    for layer in self.spec.layers):
            raise DokjaError(f"{self.spec.name} has attention sinks or an indexer, which vLLM's attention does not "
                             "take from Dokja's plugin: serve it with Dokja's engine")
        self.decoder = Decoder(replace(self.spec, mtp=()))  # vLLM drafts with its own
        self.caches = nn.ModuleList(
            PagedByVllm(layer.mixer, asked.max_model_len, vllm_config, f"{prefix}layers.{i}.attention")
            for i, layer in enumerate(self.spec.layers))

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        return self.decoder.embedding(input_ids)

    def forward(self, input_ids: Tensor, positions: Tensor, intermediate_tensors: object = None,
                inputs_embeds: Tensor | None = None) -> Tensor:
        """States of a step's tokens, [N, C]."""
        if inputs_embeds is not None:
            raise DokjaError(f"{self.spec.name} reads token ids: embeddings as input are not served")
        return self.decoder.hidden(input_ids[None], list(self.caches), positions[None])[0]  # type: ignore[arg-type]

    def compute_logits(self, hidden_states: Tensor) -> Tensor:
        return self.decoder.logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Copy published tensors into their places; what is missing, unexpected or misshapen raises DokjaError."""
        state = self.decoder.state_dict()
        published = places(empty(self.spec, self.spec.name).state_dict(), self.spec, self.layout.names)
        table = {name: place for name, place in published.items() if place.ours in state}
        found: dict[str, tuple[int, ...]] = {}
        for name, tensor in weights:
            if name in table and tuple(tensor.shape) == table[name].shape:
                table[name].read(state[table[name].ours], tensor)
            elsewhere = name in published and name not in table
            if not elsewhere and not any(fnmatch(name, pattern) for pattern in self.layout.unread):
                found[name] = tuple(tensor.shape)
        absent = fit(table, found, f"{self.spec.name} does not fit its config.json", self.layout.optional,
                     (self.layout.names.top.get("head.weight"),) if self.spec.tied else ())
        for name in absent:
            table[name].view(state[table[name].ours]).zero_()
        return {name for name, _ in self.named_parameters()}
