"""Tables as text: aligned columns for a terminal, Markdown for the docs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap

from ..cost import parameters
from ..spec import ModelSpec
from .describe import Lang, short
from .facts import ROWS, Entry, facts
from .saving import CONTEXTS, Saving, saving

Row = Sequence[str]


def aligned(rows: Sequence[Row], *, right: Sequence[int] = (), indent: int = 0) -> list[str]:
    """Rows as lines with two spaces between columns; `right`: the columns aligned to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) if i in right else cell.ljust(width)
                 for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return lines


def fitted(rows: Sequence[Row], width: int | None, *, right: Sequence[int] = (), indent: int = 0) -> list[str]:
    """Rows, the first as their head, aligned; where `width` is too small for that, a paragraph a row that names each
    cell. None is no limit (a pipe or a file)."""
    lines = aligned(rows, right=right, indent=indent)
    if width is None or max(map(len, lines)) <= width:
        return lines
    heads, *rest = rows
    lines = [" " * indent + heads[0]]
    for first, *cells in rest:
        named = ", ".join(f"{head} {cell.strip()}" for head, cell in zip(heads[1:], cells, strict=True))
        lines += paragraph(f"{first}: {named}", width, indent)
    return lines


def paragraph(text: str, width: int, indent: int = 0) -> list[str]:
    """Text broken at `width`, names kept whole."""
    return wrap(text, max(width, 40), initial_indent=" " * indent, subsequent_indent=" " * indent,
                break_long_words=False, break_on_hyphens=False)


DAGGER = " †"  # after the name of a model of which some value has no public primary source


def _named(spec: ModelSpec) -> str:
    return spec.name + (DAGGER if spec.unverified else "")


def listing(found: Sequence[Entry], width: int | None) -> list[str]:
    """`dokja models list`: one line a release; where `width` is too small for that, teams as headings and the long
    columns on a second line. None is no limit (a pipe or a file)."""
    said = paragraph("† some value has no public primary source: `dokja models show NAME` says which", width or 120)
    heads = ("name", "team", "total", "active", "layers", "context", "attention", "licence", "reference")
    rows = []
    for entry in found:
        spec, words = entry.release.spec, facts(entry)
        count = parameters(spec)
        rows.append((_named(spec), words["team"], short(count.total), short(count.active), str(len(spec.layers)),
                     words["context"], words["attention"], words["licence"], words["reference"]))
    lines = aligned([heads, *rows], right=(2, 3, 4, 5))
    if width is None or max(map(len, lines)) <= width:
        return [*lines, "", *said]
    brief = [(row[0], *row[2:6]) for row in (heads, *rows)]
    columns = aligned(brief, right=(1, 2, 3, 4), indent=2)
    narrow = max(map(len, columns)) > width
    out = [] if narrow else [columns[0], ""]
    for team, group in groupby(zip(rows, brief[1:], columns[1:], strict=True), key=lambda one: one[0][1]):
        out.append(team)
        for row, cells, line in group:
            numbers = [" ".join(pair) for pair in zip(brief[0][1:], cells[1:], strict=True)] if narrow else []
            out += [f"  {row[0]}" if narrow else line, *paragraph("; ".join([*numbers, *row[6:]]), width, indent=6)]
        out.append("")
    return [*out, *said]


def _percent(share: float, digits: int = 2) -> str:
    return f"{share * 100:.{digits}f} %" if share else "0 %"


BEYOND: dict[Lang, str] = {"en": "* beyond the model's own context", "ko": "* 모델의 문맥 길이를 넘은 곳"}


def marked(share: str, spec: ModelSpec, context: int) -> str:
    """A share with `*` where the context is beyond the model's own, else with a blank, so that columns align."""
    return share + ("*" if context > spec.context else " ")


SAVED: dict[str, dict[Lang, str]] = {
    "cache": {"en": "KV cache", "ko": "KV 캐시"},
    "attention": {"en": "attention FLOPs", "ko": "어텐션 FLOPs"},
    "forward": {"en": "all FLOPs", "ko": "전체 FLOPs"},
}


def saving_rows(savings: Sequence[Saving], spec: ModelSpec) -> list[Row]:
    """One model's savings: a row a kind, a column a context; `*` marks a context beyond the model's own."""
    return [("saved", *(f"{one.context // 1024}K " for one in savings)),
            *((words["en"], *(marked(_percent(getattr(one, part), 4), spec, one.context) for one in savings))
              for part, words in SAVED.items())]


def saving_table(found: Sequence[Entry]) -> list[Row]:
    """All models' savings of cache and attention at all contexts; `*` marks a context beyond the model's own."""
    heads = ["model", *(f"{SAVED[part]['en']} {context // 1024}K" for part in ("cache", "attention")
                        for context in CONTEXTS), "latent"]
    rows: list[Row] = [heads]
    for entry in found:
        spec = entry.release.spec
        savings = [saving(spec, context) for context in CONTEXTS]
        rows.append([spec.name, *(marked(_percent(getattr(one, part)), spec, one.context)
                                  for part in ("cache", "attention") for one in savings),
                     _percent(savings[-1].latent) if savings[-1].latent else "-"])
    return rows


def markdown(rows: Sequence[Row], *, right: Sequence[int] = ()) -> list[str]:
    """Rows as a Markdown table, the first as its head."""
    def line(cells: Row) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join("--:" if i in right else "---" for i in range(len(rows[0]))) + "|"
    return [line(rows[0]), rule, *map(line, rows[1:])]


def models_markdown(found: Sequence[Entry], lang: Lang) -> list[str]:
    """The one table of all architectures; models whose spec holds unconfirmed values are marked with a dagger."""
    keys = [key for key in ROWS if key != "reference"]
    rows: list[Row] = [[{"en": "model", "ko": "모델"}[lang], *(ROWS[key][lang] for key in keys)]]
    for entry in found:
        words = facts(entry, lang)
        spec = entry.release.spec
        rows.append([f"`{spec.name}`{DAGGER if spec.unverified else ''}", *(words[key] for key in keys)])
    numbers = [1 + keys.index(key) for key in ("parameters", "active", "vocabulary", "context", "cache", "saved")]
    return markdown(rows, right=numbers)


def saving_markdown(found: Sequence[Entry], lang: Lang) -> list[str]:
    """Savings of the models that save anything, by windows or by a latent."""
    heads = [{"en": "model", "ko": "모델"}[lang],
             *(f"{SAVED[part][lang]} {context // 1024}K" for part in ("cache", "attention") for context in CONTEXTS),
             {"en": "latent instead of all heads", "ko": "모든 헤드 대신 잠재"}[lang]]
    rows = [row for row in saving_table(found)[1:] if any(cell.strip("* ") not in ("0 %", "-") for cell in row[1:])]
    return markdown([heads, *rows], right=range(1, len(heads)))

