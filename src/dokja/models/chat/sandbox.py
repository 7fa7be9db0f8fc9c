"""Jinja as the templates of published checkpoints expect it, in a sandbox.

The conventions are those of Hugging Face: trimmed blocks, loop controls, `{% generation %}`, raise_exception,
strftime_now, and a tojson that escapes neither HTML nor other scripts.

The sandbox refuses private attributes, changes to what it is given, and other templates; ranges, products, powers and
formats of great size; output past a limit; and loops and macros that go on past a time. What it cannot limit is one
step, such as a method or filter that pads or repeats text. A template of unknown origin belongs in a process with
limits of its own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from ...errors import DokjaError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.nodes import Template as Tree

LONGEST = 16_000_000  # characters of a rendered conversation: some four million tokens
SECONDS = 5.0  # a conversation of that length takes less than one
_LOOK = "_look"
_END: ContextVar[float] = ContextVar("_END")  # the moment (`time.monotonic`) by which the template must be through


def checked(source: str, *, title: str) -> None:
    """DokjaError, naming `title`, for a text that is no Jinja template; what it would do is not looked at."""
    try:
        _compiled(source)
    except Exception as error:  # Python's compiler has limits of its own, as on loops inside loops
        raise _no_template(title, error) from error


def rendered(source: str, variables: Mapping[str, Any], *, title: str, now: datetime | None = None,
             longest: int = LONGEST, seconds: float = SECONDS) -> str:
    """The text of a template; DokjaError, naming `title`, if it refuses, fails, writes more than `longest` or takes
    more than `seconds`."""
    from jinja2.exceptions import SecurityError, TemplateSyntaxError

    pieces, length = [], 0
    end = _END.set(time.monotonic() + seconds)
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
        raise _no_template(title, error) from error
    except TimeoutError as error:
        raise DokjaError(f"{title} takes more than {seconds:g} seconds: its loops may be endless") from error
    except (SecurityError, OverflowError) as error:  # the latter: jinja2's own limit on ranges
        raise DokjaError(f"{title} tries what a template may not do ({error})") from error
    except Exception as error:  # a template can raise anything that its expressions can
        raise DokjaError(f"{title} fails on this conversation ({type(error).__name__}: {error})") from error
    finally:
        _END.reset(end)
    return "".join(pieces)


class _RefusedError(Exception):
    """What a template says with raise_exception."""


def _no_template(title: str, error: Exception) -> DokjaError:
    line = getattr(error, "lineno", None)
    return DokjaError(f"{title} is no Jinja template ({f'line {line}: ' if line else ''}{error})")


def _refuse(message: object) -> NoReturn:
    raise _RefusedError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None,
             separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    """Jinja is imported here, so that a family's data needs nothing but Python."""
    import jinja2.nodes
    from jinja2 import pass_context
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
    environment.filters[_LOOK] = pass_context(_look)  # with the context, so that it is not computed beforehand
    environment.globals["raise_exception"] = _refuse
    tree = environment.parse(source)
    _watch(tree)
    return environment.from_string(tree)


def _watch(tree: Tree) -> None:
    """Have whatever can be run again and again look at the clock first.

    By a filter, which costs a fraction of the call of a function in the sandbox.
    """
    from jinja2 import nodes

    repeated: tuple[type[Any], ...] = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)
    for node in list(tree.find_all(repeated)):
        look = nodes.ExprStmt(nodes.Filter(nodes.Const(None), _LOOK, [], [], None, None))
        node.body.insert(0, look.set_lineno(node.lineno).set_environment(node.environment))


def _look(context: object, nothing: None) -> None:
    if time.monotonic() > _END.get():
        raise TimeoutError


def _runs(text: str) -> list[str]:
    """Runs of digits, and what stands between them."""
    return re.split(r"(\d+)", text)
