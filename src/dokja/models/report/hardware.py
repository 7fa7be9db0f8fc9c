"""What holds a model: bytes of weights by precision, GPUs, and the smallest set of them."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import DokjaError
from ..cost import cache_values, kept_positions, mixer_matrices
from ..spec import Attention, ModelSpec
from .inventory import QUANTISED, inventory

GIB = 2**30


@dataclass(frozen=True)
class Precision:
    """How weights are stored. bits: of one number in the layers' matrices, scales included; rest: of all others."""

    name: str
    bits: float
    rest: int
    assumption: str


PRECISIONS = {one.name: one for one in (
    Precision("float32", 32, 32, "every weight in 32 bits"),
    Precision("bfloat16", 16, 16, "every weight in 16 bits"),
    Precision("float16", 16, 16, "every weight in 16 bits"),
    # DeepSeek-V3, arXiv 2412.19437, section 3.3.2
    Precision("fp8", 8 + 32 / 128**2, 16, "layer matrices in 8 bits with a 32-bit scale for each block of 128 x 128; "
                                          "embedding, head, routers, norms and biases in 16"),
    Precision("int8", 8 + 16 / 128, 16, "layer matrices in 8 bits with a 16-bit scale for each group of 128; "
                                        "embedding, head, routers, norms and biases in 16"),
    # GPTQ and AWQ checkpoints: group_size 128, a 16-bit scale and a 4-bit zero point each
    Precision("int4", 4 + (16 + 4) / 128, 16, "layer matrices in 4 bits with a 16-bit scale and a 4-bit zero point for "
                                              "each group of 128; embedding, head, routers, norms and biases in 16"),
)}
CACHE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1, "int8": 1}

HEADROOM = 0.1  # left free for activations, communication buffers and the driver: 1 - vLLM's gpu_memory_utilization
NODE = 8  # GPUs that share one fast fabric (DGX, HGX and MI300X platforms)
MOST_NODES = 64
MOST = 10**12  # tokens or sequences, far more than anything holds


@dataclass(frozen=True)
class GPU:
    """memory: bytes that the driver shows as the total."""

    name: str
    memory: int


def _mib(name: str, total: int) -> GPU:
    return GPU(name, total * 2**20)


# Totals as nvidia-smi prints them, in MiB: L4, L40S, A100 and H100 as listed in github.com/modal-labs/modal-client,
# pull request 2797; B200 in github.com/NVIDIA/TensorRT-LLM, issue 10278; RTX 4090, RTX 5090 and H200 as in many public
# logs of that tool. MI300X as rocm-smi prints it, in bytes.
GPUS = (
    _mib("L4 24 GB", 23_034), _mib("RTX 4090 24 GB", 24_564), _mib("RTX 5090 32 GB", 32_607),
    _mib("A100 40 GB", 40_960), _mib("L40S 48 GB", 46_068), _mib("A100 80 GB", 81_920), _mib("H100 80 GB", 81_559),
    _mib("H200 141 GB", 143_771), _mib("B200 180 GB", 183_359), GPU("MI300X 192 GB", 206_141_652_992),
)


def precision(name: str) -> Precision:
    """The precision of that name; an unknown one raises DokjaError with those that exist."""
    if name not in PRECISIONS:
        raise DokjaError(f"unknown --dtype {name!r}: choose from {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def weight_bytes(spec: ModelSpec, kind: Precision) -> int:
    """Bytes of all weights, MTP layers included, without those that nothing reads."""
    bits = 0.0
    for part in inventory(spec):
        if part.name == "unused":
            continue
        packed = part.matrices if part.name in QUANTISED or part.name == "MTP layers" else 0
        bits += packed * kind.bits + (part.parameters - packed) * kind.rest
    return round(bits / 8)


@dataclass(frozen=True)
class Set:
    """The fewest GPUs of one kind that hold a model: how many, in how many nodes, and the bytes on the fullest."""

    gpu: GPU
    count: int
    nodes: int
    used: int


def smallest_set(spec: ModelSpec, gpu: GPU, *, weights: int, context: int, batch: int, kind: Precision,
                 cache_bytes: int) -> Set | None:
    """The fewest GPUs of a kind that hold weights and cache: 1, 2, 4 or 8 in one node, then whole nodes; None beyond
    64 nodes.

    Inside a node weights are split evenly and the cache by key/value heads, down to one head a GPU; latent layers have
    no heads to split, so each GPU keeps whole sequences and a copy of those layers' matrices (data-parallel attention).
    Across nodes the layers are split evenly, whole layers being ignored.
    """
    room = gpu.memory * (1 - HEADROOM)
    for gpus, nodes in ((1, 1), (2, 1), (4, 1), *((NODE, nodes) for nodes in range(1, MOST_NODES + 1))):
        used = (weights / gpus + _extra(spec, gpus, context=context, batch=batch, kind=kind,
                                        cache_bytes=cache_bytes)) / nodes
        if used <= room:
            return Set(gpu, gpus * nodes, nodes, round(used))
    return None


def _extra(spec: ModelSpec, gpus: int, *, context: int, batch: int, kind: Precision, cache_bytes: int) -> float:
    """Bytes of cache on one GPU of a node that holds the whole model, and of copied matrices."""
    out = 0.0
    for layer in spec.layers:
        mixer = layer.mixer
        one = kept_positions(mixer, context) * cache_values(mixer) * cache_bytes
        if isinstance(mixer, Attention):
            out += batch * one * -(-mixer.kv_heads // gpus) / mixer.kv_heads
        else:
            out += -(-batch // gpus) * one
            out += mixer_matrices(mixer, spec.width) * kind.bits / 8 * (1 - 1 / gpus)
    return out
