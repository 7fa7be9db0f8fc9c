"""How much memory a model will take, told before any is taken."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from ..errors import DokjaError
from .weights import KINDS, Kind

# Bytes a weight once prepared: with the scales of groups (int8: bfloat16 for 64; int4: two for 32).
PREPARED: dict[Kind, float] = {"fp32": 4.0, "int8": 1 + 2 / 64, "int4": 0.5 + 4 / 32}
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_ROOM = 256 * 2**20  # for Python and the libraries


def check_fits(name: str, path: Path, weights: Kind, free: int | None = None) -> None:
    """DokjaError, with what is needed and which weights would fit, for a model that free memory does not hold.

    path: a folder of safetensors or a .gguf file; another is not judged. free: bytes, None for what the system tells.
    """
    found = _stored(path)
    if found is None:
        return
    free = free_memory() if free is None else free
    needs = {kind: _peak(*found, kind) for kind in KINDS}
    if needs[weights] <= free:
        return
    fitting = next((kind for kind in KINDS if needs[kind] <= free), None)
    hint = (f"--weights {fitting} takes {gibi(needs[fitting])}" if fitting else
            f"no weights fit, the least take {gibi(min(needs.values()))}")
    raise DokjaError(f"{name} needs about {gibi(needs[weights])} of memory with {weights} weights and {gibi(free)} are "
                     f"free: {hint}")


def free_memory() -> int:
    """Bytes that may be taken without swapping, as far as the system tells."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def gibi(size: float) -> str:
    """A size in GiB, or in MiB or KiB where that says more."""
    if size >= 2**30:
        return f"{size / 2**30:,.1f} GiB"
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"


def _peak(count: int, size: float, kind: Kind) -> float:
    """The most bytes at a time: weights are read as they are stored (for fp32 as that) and prepared one by one."""
    return count * max(PREPARED[kind], 4.0 if kind == "fp32" else size) + _ROOM


def _stored(path: Path) -> tuple[int, float] | None:
    """How many weights there are, and the bytes of each once read."""
    if path.suffix == ".gguf" and path.is_file():
        return _gguf(path)
    shards = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    counts: dict[str, int] = {}
    for shard in shards:
        try:
            with shard.open("rb") as file:
                header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        except (OSError, ValueError, struct.error):
            return None  # the loader says what is wrong with it
        for name, tensor in header.items():
            if name != "__metadata__":
                begin, end = tensor["data_offsets"]
                kind = tensor["dtype"]
                counts[kind] = counts.get(kind, 0) + (end - begin) // _SIZES.get(kind, 1)
    if not counts:
        return None
    main = max(counts, key=lambda kind: counts[kind])
    return sum(counts.values()), float(_SIZES.get(main, 4))


def _gguf(path: Path) -> tuple[int, float] | None:
    try:
        from gguf import GGUFReader

        tensors = GGUFReader(path).tensors
    except Exception:  # the loader says what is wrong with it
        return None
    whole = all(tensor.tensor_type.name in ("F16", "BF16") for tensor in tensors if len(tensor.shape) > 1)
    return sum(int(tensor.n_elements) for tensor in tensors), 2.0 if whole else 4.0
