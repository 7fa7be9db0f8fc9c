"""What vLLM calls when it starts (entry point `vllm.general_plugins`): it learns the architectures that it lacks."""

from __future__ import annotations

from typing import Any

from ..families import FAMILIES

ANY = "DokjaForCausalLM"  # as `architectures` of config.json (vLLM: --hf-overrides) it takes our decoder for any family
NETWORK = "dokja.models.vllm.network:DokjaForCausalLM"  # by name: imported in the process that builds the model


def register() -> None:
    """Register our decoder for every family whose class vLLM has not, and its config where transformers has none.

    An indexer's choice of positions cannot be said to vLLM's attention, so such a family is left out.
    """
    from transformers import AutoConfig, PretrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from vllm import ModelRegistry

    known = ModelRegistry.get_supported_archs()
    ModelRegistry.register_model(ANY, NETWORK)
    for family in FAMILIES.values():
        layout = family.checkpoint
        if layout is None or layout.architecture in known or family.spec.indexed:
            continue
        ModelRegistry.register_model(layout.architecture, NETWORK)
        for kind in layout.model_types:
            if kind not in CONFIG_MAPPING:
                config: Any = type("DokjaConfig", (PretrainedConfig,), {"model_type": kind})
                AutoConfig.register(kind, config)
