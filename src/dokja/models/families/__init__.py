"""The published architectures, one file each."""

from ...errors import DokjaError
from . import ax_k1, hyperclova_x_seed_think, k_exaone, solar_open, vaetki
from .family import ChatFormat, Family

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (k_exaone, ax_k1, hyperclova_x_seed_think, vaetki, solar_open)
}


def family(name: str) -> Family:
    """The family of that name; an unknown one raises DokjaError with the names that exist."""
    if name not in FAMILIES:
        raise DokjaError(f"unknown team or architecture {name!r}: choose from {', '.join(FAMILIES)}")
    return FAMILIES[name]


__all__ = ["FAMILIES", "ChatFormat", "Family", "family"]
