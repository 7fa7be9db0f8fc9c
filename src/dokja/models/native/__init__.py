"""Kernels in C++ for training on CPU in float32, where PyTorch's eager operations wait for memory and dispatch.

They are compiled at first use (`build.py`); `ops.py` calls them when `takes` says so and is the fallback otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .attention import attention, attention_takes, joint_attention
from .build import library
from .functions import gated_mlp, gated_mlp_takes, linear_cross_entropy, muon, rms_norm, rotate, swiglu
from .join import join
from .latent import Latent, latent, latent_takes
from .memory import keep_pages
from .mixture import experts, experts_take, router, router_takes

__all__ = ["Latent", "attention", "attention_takes", "experts", "experts_take", "gated_mlp", "gated_mlp_takes",
           "join", "joint_attention", "keep_pages", "latent", "latent_takes", "linear_cross_entropy", "muon", "off",
           "rms_norm", "rotate", "router", "router_takes", "swiglu", "takes"]

_off = False


def takes(*tensors: Tensor) -> bool:
    """Whether native kernels serve these tensors: plain float32 on CPU, not empty, outside of torch.compile."""
    for x in tensors:
        if x.dtype is not torch.float32 or x.device.type != "cpu" or type(x) not in _PLAIN or x.numel() == 0:
            return False
    return not _off and not torch.compiler.is_compiling() and library() is not None


_PLAIN = (Tensor, torch.nn.Parameter)


@contextmanager
def off() -> Iterator[None]:
    """Within it, every operation takes PyTorch's path (for tests and benchmarks; not for threads)."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before
