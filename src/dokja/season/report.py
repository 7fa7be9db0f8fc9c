from typing import Any


def render(summary: dict[str, Any]) -> str:
    raise NotImplementedError
