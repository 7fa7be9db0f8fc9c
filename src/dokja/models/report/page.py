"""The page that `dokja models compare --html` writes: models side by side, drawn, nothing from a network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..cost import parameters
from .describe import Lang, attention_in_words, norms_in_words, short
from .draw import FONT, MARKS, NORM, palette, rect, stack, svg
from .facts import ROWS, Entry, facts
from .saving import CONTEXTS, saving
from .tables import BEYOND, SAVED, marked

_WORDS: dict[Lang, dict[str, str]] = {
    "en": {
        "title": "Architectures side by side", "lead": "Each row of a drawing is one layer, from the first to the "
        "last: its attention on the left, its feed-forward on the right. Everything follows by arithmetic from the "
        "models' specifications; values that no primary source confirms are named at the end.",
        "attention": "attention", "ffn": "feed-forward", "mtp": "MTP", "legend": "How to read the drawings",
        "grouped": "grouped or multi-head attention", "latent": "latent attention (MLA)",
        "hollow": "hollow: a layer without positions",
        "reach": "length: how far back the layer sees, logarithmic, up to the model's context",
        "used": "feed-forward: the filled part is what one token uses", "shared": "experts that always run",
        "norm": "a norm on the input (left) or output (right)", "active": "active", "table": "In numbers and words",
        "saved": "Saved by the attention pattern, against every layer global", "kind": "saved",
        "unverified": "Not confirmed by a primary source", "layers": "layers",
    },
    "ko": {
        "title": "나란히 보는 구조", "lead": "그림의 한 줄이 층 하나이며 위가 첫 층입니다. 왼쪽이 어텐션, 오른쪽이 "
        "피드포워드입니다. 모든 수는 모델 사양에서 계산으로 나오며, 1차 자료로 확인하지 못한 값은 끝에 적었습니다.",
        "attention": "어텐션", "ffn": "피드포워드", "mtp": "MTP", "legend": "그림 읽는 법",
        "grouped": "그룹 또는 다중 헤드 어텐션", "latent": "잠재 어텐션(MLA)",
        "hollow": "빈 막대: 위치 정보가 없는 층",
        "reach": "길이: 층이 얼마나 멀리 되돌아보는가(로그 눈금, 모델의 문맥 길이까지)",
        "used": "피드포워드: 칠한 부분이 토큰 하나가 쓰는 몫", "shared": "언제나 쓰는 전문가",
        "norm": "입력(왼쪽)이나 출력(오른쪽)의 정규화", "active": "토큰마다", "table": "수와 말로",
        "saved": "어텐션 패턴이 아끼는 몫(모든 층이 전역일 때와 비교)", "kind": "아낀 것",
        "unverified": "1차 자료로 확인하지 못한 것", "layers": "층",
    },
}

_STYLE = f"""
*{{box-sizing:border-box}}html{{color-scheme:light dark}}
body{{margin:0;padding:clamp(16px,4vw,48px);font:16px/1.6 {FONT};color:var(--ink);background:var(--paper);
word-break:keep-all;overflow-wrap:anywhere}}
main{{max-width:1500px;margin:auto}}h1{{font-size:clamp(1.5rem,4vw,2.2rem);line-height:1.25;margin:0 0 .4em}}
h2{{font-size:1.2rem;margin:2.4em 0 .7em}}p{{max-width:72ch;margin:0 0 1em}}.soft{{color:var(--soft)}}
.cards{{margin-top:32px;display:grid;gap:20px;grid-template-columns:repeat(auto-fill,minmax(min(300px,100%),1fr))}}
article{{border:1px solid var(--line);border-radius:12px;padding:18px;min-width:0}}
article h3{{margin:0;font-size:1.05rem}}article p{{font-size:.85rem;line-height:1.5;margin:.2em 0 .8em}}
article svg{{display:block;width:100%;max-width:420px;height:auto;margin:auto}}
.big{{font-size:1.35rem;font-weight:650;margin:.5em 0 0}}
.legend{{display:grid;gap:6px 28px;grid-template-columns:repeat(auto-fit,minmax(min(280px,100%),1fr));padding:0;
margin:0;list-style:none;font-size:.9rem}}.legend li{{display:flex;gap:10px;align-items:center}}
.legend svg{{flex:none;width:34px;height:14px}}
.scroll{{overflow-x:auto;border:1px solid var(--line);border-radius:12px}}
table{{border-collapse:collapse;width:100%;font-size:.88rem;line-height:1.45}}
th,td{{text-align:left;vertical-align:top;padding:9px 14px;border-bottom:1px solid var(--line);min-width:9.5em}}
tr:last-child>*{{border-bottom:0}}thead th{{white-space:nowrap}}
th:first-child{{position:sticky;left:0;background:var(--paper);min-width:7.5em;font-weight:600}}
td.number{{font-variant-numeric:tabular-nums}}ul.open{{font-size:.88rem;padding-left:1.2em}}
@media(max-width:600px){{th,td{{padding:8px 10px;min-width:8.5em}}th:first-child{{min-width:8.2em;max-width:8.2em}}}}
@media print{{article,tr{{break-inside:avoid}}}}
"""


def page(found: Sequence[Entry], lang: Lang = "en") -> str:
    """One self-contained HTML page."""
    words = _WORDS[lang]
    body = [f"<h1>{words['title']}</h1><p>{words['lead']}</p>", _legend(words),
            f'<section class="cards">{"".join(_card(entry, lang) for entry in found)}</section>',
            f"<h2>{words['table']}</h2>", _facts(found, lang), f"<h2>{words['saved']}</h2>", _savings(found, lang),
            _unverified(found, words)]
    return (f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{words['title']}</title><style>{palette()}{_STYLE}{MARKS}</style></head>"
            f"<body><main>{''.join(body)}</main></body></html>\n")


def _legend(words: dict[str, str]) -> str:
    def row(marks: list[str], words: str) -> str:
        return f"<li>{svg(34, 14, marks, '')}<span>{escape(words)}</span></li>".replace(
            'role="img" aria-label=""', 'aria-hidden="true"')

    track = rect(0, 2, 34, 10, "track")
    rows = [row([rect(0, 2, 34, 10, "grouped")], words["grouped"]),
            row([rect(0, 2, 34, 10, "latent")], words["latent"]),
            row([rect(0, 2, 34, 10, "hollow grouped")], words["hollow"]),
            row([track, rect(20, 2, 14, 10, "grouped")], words["reach"]),
            row([track, rect(0, 2, 10, 10, "experts")], words["used"]),
            row([track, rect(0, 2, 10, 10, "shared")], words["shared"]),
            row([rect(0, 2, NORM, 10, "norm"), rect(6, 2, 22, 10, "track"), rect(31, 2, NORM, 10, "norm")],
                words["norm"])]
    return f'<h2>{words["legend"]}</h2><ul class="legend">{"".join(rows)}</ul>'


def _card(entry: Entry, lang: Lang) -> str:
    spec, words = entry.release.spec, _WORDS[lang]
    count = parameters(spec)
    active = f" · {words['active']} {short(count.active, lang)}" if count.active < count.trunk else ""
    return (f"<article><h3>{escape(spec.name)}</h3><p class=soft>{escape(entry.family.company)}</p>"
            f'<p class="big">{short(count.total, lang)}{active}</p>'
            f"<p>{escape(attention_in_words(spec, lang))}<br>{escape(norms_in_words(spec, lang))}</p>"
            f"{stack(spec, words)}</article>")


def _facts(found: Sequence[Entry], lang: Lang) -> str:
    cells = [facts(entry, lang) for entry in found]
    rows = [[label[lang], *(cell[key] for cell in cells)] for key, label in ROWS.items()
            if any(cell[key] != "-" for cell in cells)]
    return _table(["", *(entry.release.spec.name for entry in found)], rows)


def _savings(found: Sequence[Entry], lang: Lang) -> str:
    rows = []
    for part, label in SAVED.items():
        for context in CONTEXTS:
            savings = [(entry.release.spec, saving(entry.release.spec, context)) for entry in found]
            rows.append([f"{label[lang]} {context // 1024}K",
                         *(marked(f"{share:.2%}", spec, context) if (share := getattr(one, part)) else "-"
                           for spec, one in savings)])
    beyond = f'<p class="soft">{BEYOND[lang]}</p>' if any("*" in cell for row in rows for cell in row) else ""
    return _table([_WORDS[lang]["kind"], *(entry.release.spec.name for entry in found)], rows) + beyond


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr><th>{escape(row[0])}</th>" + "".join(f'<td class="number">{escape(cell)}</td>'
                                                              for cell in row[1:]) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _unverified(found: Sequence[Entry], words: dict[str, str]) -> str:
    items = [f"<li><b>{escape(entry.release.spec.name)}</b>: {escape('; '.join(entry.release.spec.unverified))}</li>"
             for entry in found if entry.release.spec.unverified]
    return f'<h2>{words["unverified"]}</h2><ul class="open">{"".join(items)}</ul>' if items else ""
