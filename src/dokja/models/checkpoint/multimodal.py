"""Models that see or hear as well as read: of their published files only the text part is loaded.

Their config.json keeps the text part's own in `text_config`, and its tensors stand behind `language_model.`: either all
of them (Gemma 3: `language_model.model.layers...`; HyperCLOVA X SEED: `model.language_model.model.layers...`) or the
trunk in place of `model.` (transformers from 4.52 on, EXAONE 4.5: `model.language_model.layers...`, `lm_head.weight`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ...errors import DokjaError
from ..families import checkpoint_of
from .layout import Config
from .shards import Stored, listing

# What encodes pictures and sound, and what joins them to the text: names of modules, with or without `model.` before.
TOWERS = frozenset((
    "vision_tower", "multi_modal_projector",  # Gemma 3
    "visual",  # EXAONE 4.5
    "vision_model", "vision_projector", "projector",  # HyperCLOVA X SEED Think 32B, published and in transformers
    "mm_projector", "discrete_vision_model", "audio_model", "audio_projector", "discrete_audio_model",
    "video_audio_compressor",  # HyperCLOVA X SEED Omni
))
_PREFIXES = {"model.language_model.model.": "model.", "model.language_model.lm_head.": "lm_head.",
             "language_model.model.": "model.", "language_model.lm_head.": "lm_head.",
             "model.language_model.": "model."}  # the first that fits
# Said once, for the whole model. dtype is that of the files, whatever the tables say.
_SHARED = ("tie_word_embeddings", "quantization_config", "bos_token_id", "eos_token_id", "pad_token_id")
_DTYPES = ("dtype", "torch_dtype")


def text_config(config: Config) -> Config:
    """config.json as the text part's own files would have it: unchanged where a family reads the whole.

    A text part of a class that no family has raises DokjaError.
    """
    text = config.get("text_config")
    try:
        checkpoint_of(config)
        return config
    except DokjaError:
        if not isinstance(text, dict):
            raise
    try:
        layout = checkpoint_of(text)
    except DokjaError as error:
        raise DokjaError(f"config.json says model_type = {config.get('model_type')!r} with a text part of model_type = "
                         f"{text.get('model_type')!r}, and no family of Dokja has either") from error
    return {**{key: value for key, value in text.items() if key not in _DTYPES},
            **{key: config[key] for key in _SHARED if key in config}, "architectures": [layout.architecture]}


def text_tensors(config: Config, stored: Mapping[str, Stored], path: Path) -> dict[str, Stored]:
    """The tensors of the text part, named as in files of its own; a warning says what is left out.

    config: the whole config.json. Files whose text part stands behind no known prefix raise DokjaError.
    """
    if not isinstance(config.get("text_config"), dict):
        return dict(stored)
    towers = Counter(tower for name in stored if (tower := _tower(name)))
    rest = {name: one for name, one in stored.items() if not _tower(name)}
    if text_config(config) is not config:
        renamed: dict[str, Stored] = {}
        for name, one in rest.items():
            if (first := renamed.setdefault(_own_name(name), one)) is not one:
                raise DokjaError(f"{path} holds one tensor of its text part twice, as {first.name} and as {name}: "
                                 "remove the one that does not belong there")
        if renamed.keys() == rest.keys():
            found = _counted(Counter(".".join(name.split(".")[:2]) for name in stored))
            raise DokjaError(f"{path} holds a text part behind an unknown prefix, where language_model. is due: its "
                             f"tensors are {found}")
        rest = renamed
    if towers:
        warnings.warn(f"{path} holds a model that reads more than text: its text part alone is loaded, without "
                      f"{_counted(towers)}", stacklevel=5)  # who called dokja.load
    return rest


def _tower(name: str) -> str | None:
    module = name.removeprefix("model.").partition(".")[0]
    return module if module in TOWERS else None


def _own_name(name: str) -> str:
    for prefix, own in _PREFIXES.items():
        if name.startswith(prefix):
            return own + name.removeprefix(prefix)
    return name


def _counted(groups: Mapping[str, int]) -> str:
    return listing(f"{group} ({count} tensor{'s' if count > 1 else ''})" for group, count in groups.items())
