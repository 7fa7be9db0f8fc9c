"""`dokja models`: the published architectures listed, explained, reckoned and compared.

All of it is arithmetic on specs and needs no torch. The families are read inside the commands, so that `--help` is
instant.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...errors import DokjaError
from .hardware import CACHE_BYTES, MOST, PRECISIONS

if TYPE_CHECKING:
    from .facts import Entry

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown",
                  help="The published architectures as data: list, explain, reckon, compare.\n\n"
                       "Example: `dokja models list`")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Name = Annotated[str, typer.Argument(help="A model's name from `dokja models list`, or a family's.")]
LangOption = Annotated[str, typer.Option("--lang", help="ko or en.")]


def _entry(name: str) -> Entry:
    from ..families import release
    from .facts import Entry

    return Entry(*release(name))


def _language(lang: str) -> Literal["en", "ko"]:
    if lang == "ko":
        return "ko"
    if lang != "en":
        raise DokjaError(f"--lang {lang!r} is neither ko nor en")
    return "en"


def _lines(lines: list[str]) -> None:
    print("\n".join(lines))


def _json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


@app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """Every published model: team, total and active parameters, layers, context, attention, licence, reference.

    Example: `dokja models list`
    """
    from .facts import entries, plain
    from .printed import width
    from .tables import listing

    _json([plain(entry) for entry in entries()]) if as_json else _lines(listing(entries(), width()))


@app.command("show")
def models_show(name: Name,
                size: Annotated[float | None, typer.Option(help="Turn the dial to this many parameters.")] = None,
                context: Annotated[int | None, typer.Option(help="Context length with --size.")] = None,
                as_json: AsJson = False) -> None:
    """One architecture in plain words and numbers, at its official size or at another.

    Example: `dokja models show k-exaone --size 3e6`
    """
    from ..cost import parameters
    from ..scaling import scaled
    from .explain import explain
    from .facts import plain
    from .inventory import inventory
    from .printed import shown

    entry = _entry(name)
    official = entry.release.spec
    if size is not None and not 1e5 <= size <= parameters(official).total:
        raise DokjaError(f"--size {size:g} is outside what {name} can be: 1e5 to {parameters(official).total:,}")
    if context is not None and (size is None or not 8 <= context <= MOST):
        raise DokjaError(f"--context {context} is the length that a model of --size is made for: give both, and from "
                         f"8 to {MOST:,} tokens")
    spec = official if size is None else scaled(official, int(size), context=context or 256)
    if as_json:
        _json({"release": plain(entry), "spec": spec.to_dict(), "explanation": dict(explain(spec)),
               "inventory": [{"component": part.name, "parameters": part.parameters, "active": part.active}
                             for part in inventory(spec)]})
    else:
        _lines(shown(entry, spec))


@app.command("cost")
def models_cost(name: Name,
                context: Annotated[int | None, typer.Option(help="Tokens a sequence; the model's own by "
                                                                 "default.")] = None,
                batch: Annotated[int, typer.Option(help="Sequences at once.")] = 1,
                dtype: Annotated[str, typer.Option(help=f"Weights: {', '.join(PRECISIONS)}.")] = "bfloat16",
                cache_dtype: Annotated[str, typer.Option(help=f"KV cache: {', '.join(CACHE_BYTES)}.")] = "bfloat16",
                as_json: AsJson = False) -> None:
    """What a model costs to run, by arithmetic: weights, KV cache, FLOPs, the smallest set of GPUs, savings.

    Example: `dokja models cost a.x-k1-519b-a33b --context 131072 --dtype fp8`
    """
    from .bill import bill
    from .printed import billed
    from .saving import CONTEXTS, saving

    spec = _entry(name).release.spec
    found = bill(spec, spec.context if context is None else context, batch=batch, dtype=dtype, cache_dtype=cache_dtype)
    if found.context > spec.context:
        print(f"dokja: {spec.name} was made for {spec.context:,} tokens; the numbers for {found.context:,} are only "
              "arithmetic", file=sys.stderr)
    savings = [saving(spec, one) for one in CONTEXTS]
    if as_json:
        _json({**found.to_dict(), "saving": [vars(one) for one in savings]})
    else:
        _lines(billed(found, savings))


@app.command("saving")
def models_saving(name: Annotated[str | None, typer.Argument(help="One model; all without it.")] = None,
                  against: Annotated[str | None, typer.Option(help="Another model instead of the same one with every "
                                                                   "layer global.")] = None,
                  as_json: AsJson = False) -> None:
    """What attention patterns save at 8K, 32K, 128K and 256K: KV cache and attention FLOPs, exactly.

    Example: `dokja models saving k-exaone`
    """
    from .facts import entries
    from .printed import all_saved, saved
    from .saving import CONTEXTS, saving

    if against is not None and name is None:
        raise DokjaError("--against compares one model with another: name that one too, as in `dokja models saving A "
                         "--against B`")
    other = None if against is None else _entry(against).release.spec
    found = {spec.name: [saving(spec, one, other) for one in CONTEXTS]
             for spec in (entry.release.spec for entry in ([_entry(name)] if name else entries()))}
    if as_json:
        _json([{"name": model, "against": other.name if other else "every layer global",
                "saving": [vars(one) for one in savings]} for model, savings in found.items()])
    elif name is None:
        _lines(all_saved())
    else:
        _lines(saved(_entry(name).release.spec, other, next(iter(found.values()))))


@app.command("compare")
def models_compare(names: Annotated[list[str], typer.Argument(help="Names of models or families.")],
                   html: Annotated[Path | None, typer.Option(help="Draw them on a page in this file.")] = None,
                   lang: LangOption = "en", as_json: AsJson = False) -> None:
    """Models side by side; --html draws their layers on one page that needs no network.

    Example: `dokja models compare k-exaone ax-k1 vaetki --html compare.html --lang ko`
    """
    from .facts import plain
    from .page import page
    from .printed import side_by_side
    from .saving import CONTEXTS, saving

    found, language = [_entry(name) for name in dict.fromkeys(names)], _language(lang)
    if html is not None:
        try:
            html.write_text(page(found, language), encoding="utf-8")
        except OSError as error:
            raise DokjaError(f"cannot write {html}: {os.strerror(error.errno or 0)}") from error
    if as_json:
        _json([plain(entry) | {"saving": [vars(saving(entry.release.spec, one)) for one in CONTEXTS]}
               for entry in found])
    elif html is not None:
        print(f"wrote {html}")
    else:
        side_by_side(found, language)


@app.command("table")
def models_table(lang: LangOption = "en",
                 savings: Annotated[bool, typer.Option("--saving", help="What attention patterns save "
                                                                        "instead.")] = False) -> None:
    """The one table of all architectures in Markdown, as docs/models.md has it.

    Example: `dokja models table --lang ko`
    """
    from .facts import entries
    from .tables import models_markdown, saving_markdown

    _lines((saving_markdown if savings else models_markdown)(entries(), _language(lang)))


@app.command("figures")
def models_figures(folder: Annotated[Path, typer.Argument(help="Where the SVG files go.")],
                   lang: LangOption = "en") -> None:
    """The drawings of attention patterns and norm placement that docs/models.md shows.

    Example: `dokja models figures docs/images --lang ko`
    """
    from .facts import entries
    from .figures import figures

    drawn = figures(entries(), _language(lang))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, drawing in drawn.items():
            (folder / name).write_text(drawing + "\n", encoding="utf-8")
    except OSError as error:
        raise DokjaError(f"cannot write to {folder}: {os.strerror(error.errno or 0)}") from error
    _lines([f"wrote {folder / name}" for name in drawn])
