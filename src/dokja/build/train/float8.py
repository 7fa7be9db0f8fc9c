"""Matrix products in float8, through torchao: what `train.precision=fp8` puts in place of the blocks' linear layers."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from ...errors import DokjaError
from ...models.decoder import Decoder

_MULTIPLE = 16  # both widths of a product in float8 are multiples of it (torch._scaled_mm)


def to_float8(model: Decoder, device: torch.device) -> None:
    """Let the blocks' linear layers multiply in float8, in place.

    Inputs, weights and gradients are scaled row by row, inputs and weights to e4m3 (Micikevicius et al. 2022, arXiv
    2209.05433); parameters stay as and where they are, under their names. Left as they were: embedding and head,
    routers, stacked experts (torchao has no training of them), and widths that are no multiple of 16. A GPU before
    Hopper and a processor compute the same numbers more slowly than without, which is for trying it out.
    Raises DokjaError where torchao is missing.
    """
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    except ImportError:
        raise DokjaError("train.precision=fp8 multiplies by torchao: `pip install dokja[fp8]` brings it") from None
    able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
    config = dataclasses.replace(Float8LinearConfig.from_recipe_name("rowwise"), emulate=not able)

    def fits(module: nn.Module, name: str) -> bool:
        return (type(module) is nn.Linear and not name.endswith(".router") and module.in_features % _MULTIPLE == 0
                and module.out_features % _MULTIPLE == 0)

    for blocks in (model.layers, model.mtp):
        convert_to_float8_training(blocks, module_filter_fn=fits, config=config)
