"""How the benchmark talks to an engine in a process of its own: JSON lines on standard input and output.

Imported by workers that run in other environments, so it needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

PROMPT = 16  # tokens that every sequence of a decode measurement begins with


def serve(versions: dict[str, str], jobs: dict[str, Callable[..., Any]]) -> None:
    """Answer {"do": name, ...arguments} with {"result": ...} until the input ends; whatever a library prints goes to
    standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def answer(data: dict[str, Any]) -> None:
        answers.write(json.dumps(data) + "\n")
        answers.flush()

    answer({"result": versions})
    for line in sys.stdin:
        asked = json.loads(line)
        answer({"result": jobs[asked.pop("do")](**asked)})


def prompts(vocab: int, batch: int, length: int) -> list[list[int]]:
    """Token ids that depend on nothing but their place and are no special token of any vocabulary used here."""
    return [[1000 + (row * 7919 + place * 104_729) % (vocab - 2000) for place in range(length)] for row in range(batch)]
