"""Settings of recipes: values that YAML reads, set into plain data by dotted keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..errors import DokjaError


def apply(data: dict[str, Any], settings: Sequence[str], example: str) -> None:
    """Set each "key.of.it=value" into nested dicts and lists; elements of lists go by number or by name.

    example: a setting that would do, for the error. Raises DokjaError naming the setting that leads nowhere.
    """
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise DokjaError(f"{setting!r} sets nothing: write key=value, as in --set {example}")
        _set(data, key.strip(), read_yaml(value, setting))


def read_yaml(text: str, where: str) -> Any:
    """What a YAML text says; numbers such as 1e9 and 1e-3, which YAML 1.1 takes for words, are numbers.

    Raises DokjaError naming `where` for what is not YAML.
    """
    try:
        import yaml
    except ImportError:
        raise DokjaError("recipes are read with PyYAML: `pip install dokja[build]` brings it") from None
    try:
        return _numbers(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        said = " ".join(str(getattr(error, "problem", None) or error).split())
        raise DokjaError(f"{where} is not YAML ({line}{said})") from None


def _set(data: Any, key: str, value: Any) -> None:
    *above, last = key.split(".")
    for depth, part in enumerate(above):
        inner = data.get(part) if isinstance(data, dict) else _element(data, part, key)
        if inner is None:  # a part that is off, or not spoken of: setting one of its values turns it on
            inner = data[part] = {}
        if not isinstance(inner, dict | list):
            raise DokjaError(f"{'.'.join(above[: depth + 1])} is a value and has no {[*above, last][depth + 1]!r} "
                             "in it")
        data = inner
    if isinstance(data, list):
        data[data.index(_element(data, last, key))] = value
    else:
        data[last] = value


def _element(elements: list[Any], part: str, key: str) -> Any:
    for number, element in enumerate(elements):
        if part == str(number) or (isinstance(element, dict) and element.get("name") == part):
            return element
    raise DokjaError(f"--set {key}: there is no {part!r}; give a number from 0 or a name")


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbers(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(?:\.[0-9]*)?[eE][+-]?[0-9]+", value):
        return float(value)
    return value
