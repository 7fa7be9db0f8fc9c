"""Specs as plain data for JSON, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def to_plain(value: Any) -> Any:
    """Frozen dataclasses as tables with their class name under "type", tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(value: Any, types: Mapping[str, type]) -> Any:
    """The inverse of `to_plain`, with the classes that may appear; what fits none of them raises ValueError."""
    if isinstance(value, dict):
        cls = types.get(value.get("type", ""))
        if cls is None:
            raise ValueError(f"unknown part of a model spec: {value.get('type')!r}")
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := set(value) - known - {"type"}:
            raise ValueError(f"unknown fields in {cls.__name__}: {', '.join(sorted(unknown))}")
        try:
            return cls(**{key: from_plain(item, types) for key, item in value.items() if key != "type"})
        except TypeError as error:  # a field without a default is missing
            raise ValueError(f"incomplete {cls.__name__}: {error}") from error
    if isinstance(value, list):
        return tuple(from_plain(item, types) for item in value)
    return value
