"""Kernels in C++ for serving on CPU: packed int8, int4 and float32 weights, paged attention, the sampler.

Every row's result depends on that row alone, bit for bit. They are built as those for training are
(`models/native/build.py`); `serve/weights.py` has the PyTorch path.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...models.native.build import HERE as MODELS
from ...models.native.build import KernelSet

_P, _I, _N, _F = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float


class Matrix(ctypes.Structure):
    """A packed matrix [outputs, inputs], as in packed.h; kind: 0 float32, 1 int8, 2 int4."""

    _fields_ = (("data", _P), ("bias", _P), ("outputs", _I), ("inputs", _I), ("kind", _I))


class Paged(ctypes.Structure):
    """What attention over pages reads, as in paged.h."""

    _fields_ = (*((name, _I) for name in ("count", "heads", "kv_heads", "dim", "value_dim", "size", "table_width",
                                          "window")),
                ("by", _I * 6), ("q_stride", _I), ("scale", _F),
                *((name, _P) for name in ("q", "k", "v", "sinks", "table", "rows", "positions", "out")))


class Norm(ctypes.Structure):
    """An RMSNorm; without weight, nothing is normed."""

    _fields_ = (("weight", _P), ("offset", _F), ("eps", _F))


class Layer(ctypes.Structure):
    """One of the layers that a call runs, as in layer.cpp."""

    _fields_ = (*((name, Norm) for name in ("mixer_in", "mixer_out", "ffn_in", "ffn_out", "q_norm", "k_norm")),
                *((name, Matrix) for name in ("qkv", "out", "gate_up", "down")),
                *((name, _I) for name in ("width", "heads", "kv_heads", "dim", "window", "rotated", "interleaved",
                                          "activation", "page_size", "table_width")),
                ("scale", _F), ("residual", _F),
                *((name, _P) for name in ("sinks", "cos", "sin", "k", "v", "table")))


class Joint(ctypes.Structure):
    """What stands around the layer of multi-token prediction, as in layer.cpp."""

    _fields_ = (*((name, Norm) for name in ("embedding_norm", "hidden_norm", "norm")), ("projection", Matrix))


class Router(ctypes.Structure):
    """How a token chooses experts, as in experts.cpp."""

    _fields_ = (("bias", _P), *((name, _I) for name in ("experts", "active", "groups", "kept", "softmax", "soft")),
                ("scale", _F))


class Settings(ctypes.Structure):
    """How a row's token is chosen, as in choice.cpp."""

    _fields_ = (*((name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")), ("top_k", _I),
                *((name, ctypes.c_uint64) for name in ("seed", "draw")))


SIGNATURES: dict[str, tuple[type, ...]] = {
    "quantise": (_P, _I, _I, _I, _P, _P, _P, _N),
    "pack": (_P, _P, _P, _I, _I, _P, _P, _N),
    "large_pages": (_P, _I, _N),
    "packed_bytes": (_P, _P, _N),
    "linear": (_P, _P, _I, _I, _P, _I, _N),
    "linear_peaks": (_P, _P, _I) + (_P,) * 5 + (_N,),
    "mlp": (_P, _P, _I, _P, _I, _P, _N),
    "embed": (_P, _P, _I, _F, _P, _N),
    "route": (_P, _P, _I, _P, _P, _N),
    "experts_packed": (_P,) * 8 + (_N,),
    "paged_attention": (_P, _N),
    "mtp": (_P, _P, _I) + (_P,) * 6 + (_N,),
    "likeliest": (_P, _P, _I, _P, _P, _P, _N),
    "norm": (_P, _P, _I, _I, _P, _N),
    "layers": (_P, _I, _P, _I, _P, _P, _P, _P, _N),
    "choose": (_P,) * 6 + (_I, _I, _P, _N),
    "scan": (_P, _P, _P, _I, _I, _P, _P, _N),
}
_HERE = Path(__file__).parent
_HEADERS = (*(_HERE / name for name in ("pool.h", "packed.h", "dot.h", "amx.h", "logits.h", "linear.h", "attention.h",
                                        "paged.h")),
            MODELS / "simd.h", MODELS / "norm.h")
_SOURCES = ("linear.cpp", "experts.cpp", "attention.cpp", "layer.cpp", "quantise.cpp", "logits.cpp", "choice.cpp")
KERNELS = KernelSet(_HERE, _SOURCES, _HEADERS, SIGNATURES, "serving")


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The loaded kernels, with one warning where there are none (`KernelSet.load`)."""
    return KERNELS.load()


def call(name: str, *arguments: Any) -> None:
    """Run a kernel; tensors go as pointers, structures by reference, the number of threads is added.

    Raises ValueError when the kernel refuses its input.
    """
    given = [x.data_ptr() if isinstance(x, Tensor) else ctypes.addressof(x) if isinstance(x, ctypes.Structure) else x
             for x in arguments]
    if getattr(library(), f"dokja_{name}")(*given, torch.get_num_threads()):
        raise ValueError(f"{name}: an index is out of range")


def paged_attention(q_NHD: Tensor, k_pages: Tensor, v_pages: Tensor, table_RM: Tensor, row_N: Tensor,
                    position_N: Tensor, *, window: int | None, scale: float, sinks_H: Tensor | None) -> Tensor:
    """`engine.paged.paged_attention` without an index; all float32, row_N and position_N int64, table_RM int32."""
    count, heads, dim = q_NHD.shape
    q, out = q_NHD.contiguous(), torch.empty(count, heads, v_pages.shape[3])
    strides = (_I * 6)(*k_pages.stride()[:3], *v_pages.stride()[:3])
    call("paged_attention", Paged(
        count, heads, k_pages.shape[2], dim, v_pages.shape[3], k_pages.shape[1], table_RM.shape[1], window or 0,
        strides, heads * dim, scale, q.data_ptr(), k_pages.data_ptr(), v_pages.data_ptr(),
        None if sinks_H is None else sinks_H.data_ptr(), table_RM.data_ptr(), row_N.data_ptr(), position_N.data_ptr(),
        out.data_ptr()))
    return out
