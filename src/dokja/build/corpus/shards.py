"""A finished corpus on disk: its manifest, and its shards of tokens and text.

    manifest.json                              written last; a folder without it is unfinished
    text/SOURCE/00000.jsonl.zst                documents, one JSON object a line: id, text
    tokens/SOURCE/00000.bin                    their tokens: little-endian uint16 or uint32, each document followed by
                                               the end-of-text token
    tokens/SOURCE/00000.ends                   uint64: where each document ends, in tokens
    text-heldout/..., tokens-heldout/...       the same for what is held out
    tokenizer.json, recipe.yaml                what they were made with
    report.md, report.json, hits.jsonl         what the steps did
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DokjaError
from ..lines import lines

MANIFEST = "manifest.json"
FORMAT = 2  # 1 is the sampled corpus of a season (sampled.py)


@dataclass(frozen=True)
class Shards:
    """A corpus that `dokja build corpus` made; `manifest` is what manifest.json says."""

    path: Path
    manifest: dict[str, Any]

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.manifest["sources"])

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The curriculum: name, budget of tokens (None: without end), and the share of every source."""
        return self.manifest["stages"]

    def files(self, source: str, kind: str, heldout: bool = False) -> list[dict[str, Any]]:
        """What the manifest says of the shards of a source; kind: "text" or "tokens"."""
        if source not in self.manifest["sources"]:
            raise DokjaError(f"{self.path} has no source {source!r}; it has {', '.join(self.sources)}")
        top = f"{kind}-heldout/" if heldout else f"{kind}/"
        return [shard for shard in self.manifest["sources"][source]["shards"] if shard["file"].startswith(top)]

    def tokens(self, source: str, heldout: bool = False) -> list[tuple[NDArray[np.integer], NDArray[np.uint64]]]:
        """The token shards of a source, mapped: ids [N] and where documents end [documents], the last at N.

        Raises DokjaError when the corpus has no tokens or a shard is not as long as the manifest says.
        """
        if self.manifest["tokens"] is None:
            raise DokjaError(f"{self.path} has text and no tokens; build it with a tokenizer in the recipe")
        dtype = np.dtype(self.manifest["tokens"]["dtype"]).newbyteorder("<")
        found = []
        for shard in self.files(source, "tokens", heldout):
            path = self.path / shard["file"]
            try:
                ids: NDArray[np.integer] = np.memmap(path, dtype, "r")
                ends: NDArray[np.uint64] = np.memmap(path.with_suffix(".ends"), np.dtype("<u8"), "r")
            except (OSError, ValueError) as error:
                raise DokjaError(f"{path} cannot be read ({error}); build the corpus again") from None
            if len(ids) != shard["tokens"] or len(ends) != shard["documents"] or ends[-1] != len(ids):
                raise DokjaError(f"{path} is not as long as {MANIFEST} says; build the corpus again")
            found.append((ids, ends))
        return found

    def texts(self, source: str, heldout: bool = False) -> Iterator[str]:
        """The texts of a source, streamed in the order of its tokens."""
        for shard in self.files(source, "text", heldout):
            for _, line in lines(self.path / shard["file"]):
                yield json.loads(line)["text"]

    def verify(self) -> None:
        """Read every shard; raises DokjaError for one that is not what was written."""
        for source in self.manifest["sources"].values():
            for shard in source["shards"]:
                path = self.path / shard["file"]
                expected = [(path, shard["sha256"])]
                if "ends_sha256" in shard:
                    expected.append((path.with_suffix(".ends"), shard["ends_sha256"]))
                for at, digest in expected:
                    try:
                        with at.open("rb") as file:
                            same = hashlib.file_digest(file, "sha256").hexdigest() == digest
                    except OSError as error:
                        raise DokjaError(f"{at} cannot be read ({error.strerror}); build the corpus again") from None
                    if not same:
                        raise DokjaError(f"{at} has changed since the corpus was built; build it again")


def open_shards(path: Path) -> Shards:
    """Open a finished corpus; raises DokjaError when there is none or its manifest was changed."""
    at = Path(path) / MANIFEST
    try:
        manifest = json.loads(at.read_text(encoding="utf-8"))
        known = manifest["format"] == FORMAT
        whole = known and manifest["hash"] == manifest_hash(manifest)
    except FileNotFoundError:
        raise DokjaError(f"{path} holds no finished corpus ({MANIFEST} is missing); run `dokja build corpus`") from None
    except OSError as error:
        raise DokjaError(f"{at} cannot be read ({error.strerror}); check the permissions of {path}") from None
    except (ValueError, KeyError, TypeError):
        raise DokjaError(f"{at} is not a corpus manifest; build the corpus again") from None
    if not known:
        raise DokjaError(f"{at} has format {manifest['format']!r}, and token shards have {FORMAT}; build the corpus "
                         "with `dokja build corpus`")
    if not whole:
        raise DokjaError(f"{at} has changed since the corpus was built; build it again")
    return Shards(Path(path), manifest)


def manifest_hash(manifest: dict[str, Any]) -> str:
    """SHA-256 of the manifest in canonical form, its own hash left out."""
    content = {key: value for key, value in manifest.items() if key != "hash"}
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
