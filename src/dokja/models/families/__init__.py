"""The published architectures, one file each."""

from difflib import get_close_matches
from importlib import import_module

from ...errors import DokjaError
from ..checkpoint import llama
from ..checkpoint.layout import Checkpoint, Config
from .family import ChatFormat, Family, Release

# The five teams of the programme first, in the order of a season's table.
_FILES = (
    "k_exaone", "ax_k1", "hyperclova_x_seed_think", "vaetki", "solar_open",
    "exaone_4", "exaone_4_5", "exaone_3_5",
    "solar_pro",
    "ax_k2", "ax_4",
    "hyperclova_x_seed_omni",
    "kanana_2",
    "deepseek_v3",
    "kanana",
    "midm_2",
    "kogpt",
    "qwen3",
    "gpt_oss",
    "gemma_3",
)

FAMILIES: dict[str, Family] = {
    found.name: found for found in (import_module(f".{file}", __name__).FAMILY for file in _FILES)
}


def checkpoint_of(config: Config) -> Checkpoint:
    """The layout of the files beside a config.json; a `model_type` that no family has raises DokjaError."""
    kind = config.get("model_type")
    for layout in (*(found.checkpoint for found in FAMILIES.values()), llama.CHECKPOINT):
        if layout is not None and kind in layout.model_types:
            return layout
    raise DokjaError(f"config.json says model_type = {kind!r}, which no family of Dokja has")


def family(name: str) -> Family:
    """The family of that name; an unknown one raises DokjaError with the names that exist."""
    if name not in FAMILIES:
        raise DokjaError(f"unknown team or architecture {name!r}: choose from {', '.join(FAMILIES)}")
    return FAMILIES[name]


def release(name: str) -> tuple[Family, Release]:
    """The published model of that name (`spec.name`, in any case), or the first of the family of that name; an unknown
    one raises DokjaError with the nearest names."""
    for found in FAMILIES.values():
        for one in found.releases:
            if name.lower() in (one.spec.name, found.name):
                return found, one
    names = [one.spec.name for found in FAMILIES.values() for one in found.releases]
    near = get_close_matches(name.lower(), [*names, *FAMILIES], n=3, cutoff=0.5)
    hint = f": did you mean {' or '.join(near)}?" if near else ":"
    raise DokjaError(f"unknown model {name!r}{hint} `dokja models list` names all")


__all__ = ["FAMILIES", "ChatFormat", "Family", "Release", "checkpoint_of", "family", "release"]
