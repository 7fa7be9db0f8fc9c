"""The page of one or several runs: curves, samples, events and recipe as HTML, made anew for each look."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from ...errors import DokjaError
from ...models.report.draw import FONT, MARKS, palette
from .card import read_record
from .curves import COLOURS, Line, chart, label, names, series
from .sinks import METRICS, SAMPLES, read_lines, read_metrics
from .words import PAGE, Lang

_ALIVE = 60.0  # seconds without a record after which a run is taken for stopped
_SHOWN = 6  # samples and events of a run

_COLOURS = "".join(f".bg-{name}{{background:var(--{name})}}" for name in COLOURS)

# The body is fetched again every few seconds; what the reader has opened or scrolled to stays.
_SCRIPT = """
setInterval(async () => {
  if (document.hidden) return;
  try {
    const got = await fetch(location.pathname + 'body' + location.search);
    if (!got.ok) return;
    const open = [...document.querySelectorAll('details')].map(one => one.open);
    document.querySelector('main').innerHTML = await got.text();
    document.querySelectorAll('details').forEach((one, i) => { one.open = open[i] });
  } catch (gone) {}
}, 5000);
"""


@dataclass(frozen=True)
class _Run:
    """A run as it stands; why: what keeps it from being shown."""

    name: str
    record: dict[str, Any] | None
    lines: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    idle: float
    why: str = ""


def page(runs: Sequence[Path], lang: Lang) -> str:
    """The whole page."""
    words = PAGE[lang]
    other = "en" if lang == "ko" else "ko"
    return (f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{words['title']} · Dokja</title><style>{_css()}</style></head><body>"
            f"<header><h1>독자 <span>Dokja · {words['title']}</span></h1>"
            f'<a href="?lang={other}" lang="{other}">{words["other"]}</a></header>'
            f"<main>{body(runs, lang)}</main><script>{_SCRIPT}</script></body></html>")


@cache
def _css() -> str:
    own = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return f"{palette()}{MARKS}{_COLOURS}body{{font-family:{FONT}}}{own}"


def body(runs: Sequence[Path], lang: Lang) -> str:
    """What changes while a run goes on."""
    words, found = PAGE[lang], [_read(run) for run in runs]
    parts = ['<section class="runs">', *(_head(run, number, words) for number, run in enumerate(found)), "</section>"]
    known = list(dict.fromkeys(name for run in found for name in names(run.lines)))
    curves = []
    for name in known:
        title = words.get("heldout_title" if name == "heldout" else name, name)
        lines = [Line(run.name, series(run.lines, name), place) for place, run in enumerate(found)]
        curves.append(chart(title, lines, noisy=name not in ("rate", "heldout"), x_title=words["step_title"]))
    parts += ['<section class="curves">', *curves, "</section>"]
    for run in found:
        if run.record is not None:
            parts += _further(run, words, alone=len(found) == 1)
    return "".join(parts)


def _read(run: Path) -> _Run:
    try:
        record = read_record(run)
        lines = read_metrics(run) if (run / METRICS).exists() else []
        idle = time.time() - (run / (METRICS if lines else "run.json")).stat().st_mtime
    except (DokjaError, OSError) as error:
        return _Run(run.name, None, [], [], 0.0, str(error))
    return _Run(run.name, record, lines, read_lines(run / SAMPLES), idle)


def _head(run: _Run, number: int, words: dict[str, str]) -> str:
    colour = COLOURS[number % len(COLOURS)]
    name = f'<span class="dot bg-{colour}"></span><b>{escape(run.name)}</b>'
    if run.record is None:
        why = escape(words["missing"].format(why=run.why))
        return f'<div class="run" role="alert">{name} <span class="soft">{why}</span></div>'
    facts, steps = run.record["facts"], [line for line in run.lines if "loss" in line]
    if not steps:
        return f'<div class="run">{name} <span class="soft">{words["empty"]}</span></div>'
    last, key = steps[-1], "running"
    if last["step"] >= facts["steps"]:
        key = "finished"
    elif run.idle > _ALIVE:
        key = "stopped"
    state = words[key].format(step=f"{last['step']:,}", steps=f"{facts['steps']:,}", ago=_ago(run.idle))
    spent = words["compute_so_far"].format(flops=f"{last['flops']:.3g}", tokens=label(last["tokens"]),
                                           parameters=f"{facts['parameters']:,}")
    return (f'<div class="run">{name} <span>{state}</span><br><span class="soft">{escape(facts["spec"]["name"])} · '
            f"{spent}</span></div>")


def _further(run: _Run, words: dict[str, str], *, alone: bool) -> list[str]:
    title = "" if alone else f" · {escape(run.name)}"
    events = [line for line in run.lines if "message" in line][-_SHOWN:]
    parts = [f"<h2>{words['samples']}{title}</h2>"]
    samples = reversed(run.samples[-_SHOWN:])
    parts += [f'<blockquote lang="ko"><span class="soft">{words["at_step"].format(step=one["step"])} · '
              f"{escape(one['prompt'])}</span>{escape(one['text'])}</blockquote>" for one in samples] or [
        f'<p class="soft">{words["nothing"]}</p>']
    parts.append(f"<h2>{words['events']}{title}</h2>")
    told = "".join(f"<li>{words['at_step'].format(step=line['step'])}: {escape(str(line['message']))}</li>"
                   for line in events)
    parts.append(f"<ul>{told}</ul>" if told else f'<p class="soft">{words["nothing"]}</p>')
    assert run.record is not None
    recipe = json.dumps(run.record["recipe"], ensure_ascii=False, indent=1)
    parts.append(f"<details><summary>{words['recipe_title']}{title}</summary><pre>{escape(recipe)}</pre></details>")
    return parts


def _ago(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
