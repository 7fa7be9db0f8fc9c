"""One function for every model that is on disk or on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..errors import DokjaError
from .checkpoint.hub import download, is_repository
from .checkpoint.kept import CONFIG, TOKENIZER, kept_files, read_tokenizer, stop_tokens
from .checkpoint.layout import Config
from .checkpoint.multimodal import text_config
from .checkpoint.published import read_published
from .checkpoint.shards import PICKLES, read_json, refuse_pickles
from .families import FAMILIES, Family
from .folder import CARD, SPEC, read_folder
from .model import Model
from .spec import ModelSpec

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


def load(source: str | Path, *, dtype: torch.dtype | str | None = None, device: torch.device | str = "cpu") -> Model:
    """A model, ready to run.

    source: a folder that Dokja wrote (spec.json), a published folder (config.json and safetensors shards), a .gguf
    file, owner/name on the Hugging Face hub, or the name of a release (`dokja models`). dtype: of the parameters, as
    torch.bfloat16 or "bfloat16"; None is that of the files. Peak memory is the model's own and little more: tensors
    are copied one by one from mapped files. Whatever is missing, broken or not understood raises DokjaError.
    """
    if isinstance(dtype, str) and dtype not in _DTYPES:
        raise DokjaError(f"unknown dtype {dtype!r}: choose from {', '.join(_DTYPES)}")
    precision = _DTYPES[dtype] if isinstance(dtype, str) else dtype
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without that device's code
        raise DokjaError(f"no device {str(device)!r} can be used here: choose one that this torch has, such as cpu"
                         ) from error
    path = locate(source)
    if path.is_file():
        refuse_pickles([path] if path.suffix in PICKLES else [], path.parent)
        if path.suffix != ".gguf":
            raise DokjaError(f"{path} is a file: give a .gguf file, or the folder that a model's files lie in")
        from .checkpoint.gguf_file import read_gguf

        return read_gguf(path, dtype=precision, device=device)
    if (path / SPEC).is_file():
        return read_folder(path, dtype=precision, device=device)
    return _read_hf(path, precision, device)


def locate(source: str | Path) -> Path:
    """Where the files of `load`'s source lie, downloaded if need be."""
    path, name = Path(source).expanduser(), str(source)
    if path.exists():
        return path
    for found in FAMILIES.values():
        for one in found.releases:
            if name == one.spec.name:
                if one.repository is None:
                    raise DokjaError(f"the weights of {name} were never published: there is nothing to load")
                return download(one.repository)
    if is_repository(name) and not path.parent.is_dir():  # a folder that is there means a path was meant
        return download(name)
    raise DokjaError(f"there is no {name}: give a folder, a .gguf file, owner/name on the hub or a release's name")


def _read_hf(path: Path, dtype: torch.dtype | None, device: torch.device | str) -> Model:
    config = read_json(path / CONFIG)
    decoder = read_published(path, dtype=dtype, device=device)
    files = kept_files(path)
    tokenizer = read_tokenizer(path / TOKENIZER) if TOKENIZER in files else None
    card = json.loads((path / CARD).read_text(encoding="utf-8")) if (path / CARD).is_file() else {}
    return Model(decoder, tokenizer, family_of(text_config(config), decoder.spec), card, files, stop_tokens(files))


def family_of(config: Config, spec: ModelSpec) -> Family | None:
    """The family with an official release of just this architecture, else the first one of that `model_type`.

    The model type of plain Llama says nothing about whose model it is: without such a release it has no family.
    """
    kind = config.get("model_type")
    kin = [one for one in FAMILIES.values() if one.checkpoint is not None and kind in one.checkpoint.model_types]
    for one in kin:
        if any(same(spec, release.spec) for release in one.releases):
            return one
    return kin[0] if kin and kind != "llama" else None


def same(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether two specs say the same but for their names."""
    return one.to_dict() | {"name": "", "unverified": []} == other.to_dict() | {"name": "", "unverified": []}
