"""What the verbs of `dokja models` print: lines of text for a terminal, a pipe or a file."""

from __future__ import annotations

import os
import shutil
import sys

from ..cost import cache_bytes_per_token, parameters, training_flops_per_token
from ..spec import ModelSpec
from .bill import Bill
from .describe import Lang
from .explain import explain, layer_kinds
from .facts import ROWS, Entry, entries, facts
from .hardware import GIB, GPUS, HEADROOM, PRECISIONS
from .inventory import inventory
from .saving import CONTEXTS, Saving, reached_at, saving
from .tables import BEYOND, aligned, fitted, marked, paragraph, saving_rows, saving_table


def width() -> int | None:
    """Columns of the terminal; None where standard output is none, and lines may be as long as they are."""
    known = "COLUMNS" in os.environ or (sys.stdout is not None and sys.stdout.isatty())  # None: closed
    return shutil.get_terminal_size().columns if known else None


def shown(entry: Entry, spec: ModelSpec) -> list[str]:
    """An architecture in plain words and numbers; `spec` is the release's, or the same scaled."""
    count, columns = parameters(spec), min(width() or 100, 100)
    lines = paragraph(f"{entry.family.title} ({entry.family.company}), {spec.name}: {count.total:,} parameters, "
                      f"{count.active:,} active, context {spec.context:,}", columns)
    for heading, text in explain(spec):
        lines += ["", heading, *paragraph(text, columns, 2)]
    rows = [("component", "parameters", "share", "active")]
    for part in inventory(spec):
        rows.append((part.name, f"{part.parameters:,}", f"{part.parameters / count.total:.2%}", f"{part.active:,}"))
    rows.append(("total", f"{count.total:,}", "100 %", f"{count.active:,}"))
    lines += ["", "What it is made of", *fitted(rows, columns, right=(1, 2, 3), indent=2)]
    for part in inventory(spec):
        lines += paragraph(f"{part.name}: {part.note}", columns, 2) if part.note else []
    lines += ["", "Layers, counted from 0"]
    for which, words in layer_kinds(spec):
        lines += paragraph(f"{which}: {words}", columns, 2)
    lines += ["", *paragraph(f"KV cache: {cache_bytes_per_token(spec, spec.context):,.0f} bytes a token (16 bit); "
                             f"training: {training_flops_per_token(spec, spec.context):.3g} FLOPs a token; both at "
                             "full context.", columns)]
    if spec.unverified:
        lines += ["", "Not confirmed by a primary source"]
        lines += [line for item in spec.unverified for line in paragraph(f"- {item}", columns, 2)]
    found = entry.release
    lines.append("")
    for label, value in (("Weights", found.repository or "never published"), ("Licence", found.licence),
                         ("Values read from", found.source), ("Numbers compared with", entry.family.reference),
                         ("Note", entry.family.note)):
        lines += paragraph(f"{label}: {value}", columns) if value else []
    return lines


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f} GiB"


def billed(found: Bill, savings: list[Saving]) -> list[str]:
    """The bill of `dokja models cost`."""
    count = parameters(found.spec)
    many = "1 sequence" if found.batch == 1 else f"{found.batch:,} sequences"
    columns = width() or 120
    lines = [*paragraph(f"{found.spec.name}: {count.total:,} parameters, {count.active:,} active; {many} of "
                        f"{found.context:,} tokens", columns), "",
             *paragraph(f"Weights in {found.dtype}: {_gib(found.weights[found.dtype])} "
                        f"({PRECISIONS[found.dtype].assumption})", columns),
             *paragraph("otherwise: " + ", ".join(f"{name} {_gib(size)}" for name, size in found.weights.items()
                                                  if name != found.dtype), columns, 2), "",
             *paragraph(f"KV cache in {found.cache_dtype}, MTP layers not counted", columns),
             *aligned([("its own pattern", _gib(found.cache)), ("every layer global", _gib(found.cache_global)),
                       *([("keys and values of all heads, no latent", _gib(found.cache_expanded))]
                         if found.cache_expanded else [])], right=(1,), indent=2), ""]
    rows: list[tuple[str, ...]] = [("FLOPs", "matrices", "attention", "total", "every layer global")]
    for label, own, wide in (("prefill of a sequence", found.prefill, found.prefill_global),
                             ("one more token", found.decode, found.decode_global)):
        rows.append((label, f"{own.matrices:.4g}", f"{own.attention:.4g}", f"{own.total:.4g}", f"{wide.total:.4g}"))
    lines += [*fitted(rows, columns, right=range(1, 5)),
              *paragraph("(a multiply-add is two; the head runs once in a prefill; latents are not expanded for one "
                         "more token)", columns)]
    lines += ["", *paragraph(f"GPUs that hold weights and cache with {HEADROOM:.0%} of each left free (activations are "
                             f"in those {HEADROOM:.0%})", columns)]
    cells = [("GPU", "memory", "fewest", "on the fullest")]
    for gpu in GPUS:
        one = found.sets[gpu.name]
        cells.append((gpu.name, _gib(gpu.memory), "-", "over 64 nodes of 8") if one is None else
                     (gpu.name, _gib(gpu.memory), f"{one.count}" + (f" ({one.nodes} nodes)" if one.nodes > 1 else ""),
                      _gib(one.used)))
    lines += fitted(cells, columns, right=(1, 3), indent=2)
    best = found.smallest
    lines.append(f"Smallest set: {best.count} x {best.gpu.name}." if best else "No set of 64 nodes holds it.")
    if found.sparse:
        share, more = found.sparse.attention, -found.sparse.cache
        lines += ["", *paragraph(f"Its indexers {f'take {share:.2%} off' if share > 0 else f'add {-share:.2%} to'} the "
                                 "FLOPs of attention in a prefill, against reading every position, and add "
                                 f"{more:.2%} to the KV cache.", columns)]
    if not any(one.cache for one in savings):
        return [*lines, "", *paragraph("Every layer is global: there are no windows to save by.", columns)]
    return [*lines, "", *_savings("Saved by its windows, against the same model with every layer global", savings,
                                  found.spec)]


def _savings(heading: str, savings: list[Saving], spec: ModelSpec) -> list[str]:
    columns = width()
    beyond = [f"  {BEYOND['en']}"] if any(one.context > spec.context for one in savings) else []
    return [*paragraph(heading, columns or 120),
            *fitted(saving_rows(savings, spec), columns, right=range(1, 5), indent=2), *beyond]


def saved(spec: ModelSpec, other: ModelSpec | None, savings: list[Saving]) -> list[str]:
    """One model's savings, against another or against itself with every layer global."""
    lines = _savings(f"{spec.name} against {other.name if other else 'itself with every layer global'}", savings, spec)
    if other is None:
        reached = [(words, reached_at(spec, 0.7, part)) for part, words in (("cache", "of the KV cache"),
                                                                            ("attention", "of attention FLOPs"))]
        for words, tokens in reached:
            lines += paragraph(f"70 % {words} is saved from {tokens:,} tokens on", width() or 120) if tokens else []
    return lines


def all_saved() -> list[str]:
    """Every model's savings; two narrow tables where one is too wide for the terminal."""
    rows = saving_table(entries())
    wide = aligned(rows, right=range(1, len(rows[0])))
    columns, last = width(), len(rows[0]) - 1
    if columns and max(map(len, wide)) > columns:  # two tables, cache and attention, each narrow
        half = 1 + len(CONTEXTS)
        names = [(row[0],) for row in rows]
        parts = [[(*key, *row[1:half], row[last]) for key, row in zip(names, rows, strict=True)],
                 [(*key, *row[half:last]) for key, row in zip(names, rows, strict=True)]]
        kept = [[tuple(cell.replace("KV cache ", "").replace("attention FLOPs ", "") for cell in row) for row in part]
                for part in parts]
        wide = ["KV cache", *fitted(kept[0], columns, right=range(1, half + 1)), "",
                "Attention FLOPs", *fitted(kept[1], columns, right=range(1, half))]
    return [*wide, "", *paragraph("Against the same model with every layer global; latent: KV cache against keys and "
                                  f"values of all heads; {BEYOND['en']}.", columns or 120)]


def side_by_side(found: list[Entry], lang: Lang) -> None:
    """Print models as columns, folded to the terminal; below each other where it is too narrow for columns."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    columns = width() or max(100, 40 * (1 + len(found)))
    cells = [facts(entry, lang) for entry in found]
    rows = [(label[lang], [cell[key] for cell in cells]) for key, label in ROWS.items()
            if any(cell[key] != "-" for cell in cells)]
    words = {"en": "cache, attention FLOPs saved at", "ko": "아낀 캐시, 어텐션 FLOPs"}[lang]
    for context in CONTEXTS:
        saved = [(entry.release.spec, saving(entry.release.spec, context)) for entry in found]
        rows.append((f"{words} {context // 1024}K",
                     [marked(f"{one.cache:.2%} / {one.attention:.2%}", spec, context) for spec, one in saved]))
    names = [entry.release.spec.name for entry in found]
    console = Console(width=columns)
    if columns < 24 * (1 + len(found)):
        for label, values in rows:
            console.print(Text(label, style="bold"))
            for name, value in zip(names, values, strict=True):
                console.print(Padding(Text(f"{name}: {value}"), (0, 0, 0, 2), expand=False))
    else:
        table = Table(box=SIMPLE_HEAD, show_header=True, padding=(0, 1))
        table.add_column("", style="bold", overflow="fold")
        for name in names:
            table.add_column(name, overflow="fold")
        for label, values in rows:
            table.add_row(label, *values)
        console.print(table)
    if any("*" in value for _, values in rows for value in values):
        console.print(Text(BEYOND[lang]))
