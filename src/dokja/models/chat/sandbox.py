"""Jinja as the templates of published checkpoints expect it, in a sandbox.

The conventions are those of Hugging Face: trimmed blocks, loop controls, `{% generation %}`, raise_exception,
strftime_now, and a tojson that escapes neither HTML nor other scripts.

The sandbox refuses private attributes, changes to what it is given, and other templates; ranges, products, powers and
formats of great size; and output past a limit. What it cannot limit is time: loops inside loops that write nothing, and
methods that pad or repeat text in one step. A template of unknown origin belongs in a process with limits of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from ...errors import DokjaError

if TYPE_CHECKING:
    from jinja2 import Template

LONGEST = 16_000_000  # characters of a rendered conversation: some four million tokens


def rendered(source: str, variables: Mapping[str, Any], *, title: str, now: datetime | None = None,
             longest: int = LONGEST) -> str:
    """The text of a template; DokjaError, naming `title`, if it refuses, fails, or writes more than `longest`."""
    from jinja2.exceptions import SecurityError, TemplateSyntaxError

    pieces, length = [], 0
    try:
        template = _compiled(source)
        clock: Callable[[str], str] = (now or datetime.now()).strftime
        for piece in template.generate({**variables, "strftime_now": clock}):
            pieces.append(piece)
            length += len(piece)
            if length > longest:
                raise DokjaError(f"{title} writes more than {longest:,} characters: it may be endless")
    except DokjaError:
        raise
    except _RefusedError as error:
        raise DokjaError(f"{title} refuses this conversation: {error}") from error
    except TemplateSyntaxError as error:
        raise DokjaError(f"{title} is no Jinja template (line {error.lineno}: {error})") from error
    except SecurityError as error:
        raise DokjaError(f"{title} tries what a template may not do ({error})") from error
    except Exception as error:  # a template can raise anything that its expressions can
        raise DokjaError(f"{title} fails on this conversation ({type(error).__name__}: {error})") from error
    return "".join(pieces)


class _RefusedError(Exception):
    """What a template says with raise_exception."""


def _refuse(message: object) -> NoReturn:
    raise _RefusedError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None,
             separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    """Jinja is imported here, so that a family's data needs nothing but Python."""
    import jinja2.nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension
    from jinja2.ext import loopcontrols as loop_controls
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks the assistant's text for training; here it is what it holds."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[jinja2.nodes.Node]:
            next(parser.stream)
            return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**", "%"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*":
                for text, times in ((left, right), (right, left)):
                    if isinstance(text, (str, list, tuple)) and isinstance(times, int) and len(text) * times > LONGEST:
                        raise SecurityError("a product of that size")
            if operator == "**" and not (abs(left) < 1e6 and abs(right) < 64):
                raise SecurityError("a power of that size")
            if operator == "%" and isinstance(left, str) and any(run.isdigit() and len(run) > 4 for run in _runs(left)):
                raise SecurityError("a format of that width")
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loop_controls, Generation])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(source)


def _runs(text: str) -> list[str]:
    """Runs of digits, and what stands between them."""
    return re.split(r"(\d+)", text)
