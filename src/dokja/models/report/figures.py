"""The figures of docs/models.md: attention pattern of every family, and the places where blocks normalise."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from ..spec import ModelSpec, Norms
from .describe import Lang, attention_in_words
from .draw import attention_kind, reach, rect, svg, text
from .facts import Entry

_WORDS: dict[Lang, dict[str, str]] = {
    "en": {"attention": "Attention: a bar a layer, from the first to the last", "grouped": "grouped or multi-head",
           "latent": "latent (MLA)", "hollow": "hollow: no positions",
           "height": "height: how far back the layer sees, logarithmic, up to the model's context",
           "norms": "Norms: where a layer normalises", "norm": "norm", "mixer": "attention", "ffn": "feed-forward",
           "out": "to the next layer", "x": "from the layer before"},
    "ko": {"attention": "어텐션: 막대 하나가 층 하나, 첫 층부터 끝 층까지", "grouped": "그룹 또는 다중 헤드",
           "latent": "잠재(MLA)", "hollow": "빈 막대: 위치 없음",
           "height": "높이: 층이 얼마나 멀리 되돌아보는가(로그 눈금, 모델의 문맥 길이까지)",
           "norms": "정규화: 층의 어디에서 정규화하는가", "norm": "정규화", "mixer": "어텐션", "ffn": "피드포워드",
           "out": "다음 층으로", "x": "앞 층에서"},
}


def figures(found: Sequence[Entry], lang: Lang = "en") -> dict[str, str]:
    """File names and their SVG."""
    return {f"models-attention.{lang}.svg": attention_figure(found, lang),
            f"models-norms.{lang}.svg": norms_figure(found, lang)}


def attention_figure(found: Sequence[Entry], lang: Lang) -> str:
    """A row of bars for every different attention of every family; names of models that share one stand together."""
    words, drawn = _WORDS[lang], _alike(found, lambda spec: (attention_in_words(spec), len(spec.layers)))
    width, left, row, height = 860.0, 330.0, 46.0, 26.0
    body = [text(20, 30, words["attention"], size=16, weight=600), text(20, 50, words["height"], kind="soft")]
    x = 20.0
    for kind, key in (("grouped", "grouped"), ("latent", "latent"), ("hollow grouped", "hollow")):
        body += [rect(x, 61, 12, 12, kind), text(x + 17, 72, words[key])]
        x += 40 + 8.0 * len(words[key]) * (1.4 if lang == "ko" else 0.85)
    top = 92.0
    for spec, names in drawn:
        body += [text(20, top + 13, names, size=12, weight=600),
                 text(20, top + 29, attention_in_words(spec, lang), size=10, kind="soft")]
        bar = (width - left - 60) / len(spec.layers)
        for index, layer in enumerate(spec.layers):
            tall = height * reach(layer.mixer, spec.context)
            body.append(rect(left + index * bar, top + 4 + height - tall, max(bar - 1.2, 1), tall,
                             attention_kind(layer.mixer), 0))
        body.append(text(width - 20, top + 4 + height, str(len(spec.layers)), size=10, anchor="end", kind="soft"))
        top += row
    return svg(width, top + 8, body, words["attention"], alone=True)


def _alike(found: Sequence[Entry], key: Callable[[ModelSpec], Hashable]) -> list[tuple[ModelSpec, str]]:
    """One spec for each family and different value of `key`, with the family's title and what tells it apart."""
    out: dict[tuple[str, Hashable], tuple[ModelSpec, str, list[str]]] = {}
    for entry in found:
        spec = entry.release.spec
        place = out.setdefault((entry.family.name, key(spec)), (spec, entry.family.title, []))
        place[2].append(spec.name.rsplit("-", 1)[-1])
    several = [title for _, title, _ in out.values()]
    return [(spec, title + (f" {sizes[0].upper()}" if several.count(title) > 1 else ""))
            for spec, title, sizes in out.values()]


def norms_figure(found: Sequence[Entry], lang: Lang) -> str:
    """One block a different placement, and the families whose layers have it."""
    words = _WORDS[lang]
    users: dict[tuple[Norms, bool], list[str]] = {}
    for entry in found:
        for layer in dict.fromkeys(entry.release.spec.layers):
            titles = users.setdefault((layer.norms, layer.parallel), [])
            if entry.family.title not in titles:
                titles.append(entry.family.title)
    column, tall = 215.0, 300.0
    lines = {key: _broken(titles, 28) for key, titles in users.items()}
    most = max(map(len, lines.values()))
    across = 4
    rows = -(-len(users) // across)
    height = 50 + rows * (tall + 16 * most + 20)
    body = [text(20, 30, words["norms"], size=16, weight=600)]
    for number, ((norms, parallel), titles) in enumerate(sorted(lines.items(), key=lambda item: -len(item[1]))):
        x, y = 20 + number % across * column, 56 + number // across * (tall + 16 * most + 20)
        body += _block(norms, parallel, x + 30, y, words)
        body += [text(x, y + tall + 4 + 16 * index, line, size=12, weight=600) for index, line in enumerate(titles)]
    return svg(20 + across * column, height, body, words["norms"], alone=True)


def _broken(titles: Sequence[str], width: int) -> list[str]:
    lines = [""]
    for index, title in enumerate(titles):
        piece = title + ("," if index < len(titles) - 1 else "")
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {piece}".strip()
    return lines


def _block(norms: Norms, parallel: bool, x: float, y: float, words: dict[str, str]) -> list[str]:
    """One layer from above to below: the residual stream on the left, its two halves on the right of it."""
    box, high = 110.0, 22.0
    out = [text(x, y, words["x"], size=10, kind="soft", anchor="start")]
    stream, first, bottom = x + 6, y + 8, y + 262
    out += [f'<path d="M{stream} {first}V{bottom}" class="wire"/>',
            text(x, bottom + 14, words["out"], size=10, kind="soft")]

    def half(top: float, parts: list[tuple[str, bool]], left: float, wide: float) -> list[str]:
        middle, drawn = left + wide / 2, []
        end = top + 4 * (high + 4)
        drawn.append(f'<path d="M{stream} {top}H{middle}V{end}H{stream}" class="wire"/>')
        for index, (name, norm) in enumerate(parts):
            place = top + 8 + index * (high + 6)
            if name:
                drawn += [rect(left, place, wide, high, "norm" if norm else "box", 4),
                          text(middle, place + 15, name, size=11, anchor="middle",
                               kind="on" if norm else "")]
        drawn.append(f'<circle cx="{stream}" cy="{end}" r="5" class="box"/>'
                     f'<path d="M{stream - 3} {end}h6m-3 -3v6" class="wire"/>')
        return drawn

    norm = words["norm"]
    if parallel:
        left, wide = x + 24, 74.0
        out += half(first + 70, [("", False), (words["mixer"], False)], left, wide)
        out += half(first + 70, [("", False), (words["ffn"], False)], left + wide + 8, wide)
        out += [rect(stream - 6, first + 30, box, high, "norm", 4),
                text(stream - 6 + box / 2, first + 45, norm, size=11, anchor="middle")]
        return out
    for top, inside, into, outof in ((first + 12, words["mixer"], norms.mixer_in, norms.mixer_out),
                                     (first + 136, words["ffn"], norms.ffn_in, norms.ffn_out)):
        out += half(top, [(norm if into else "", True), (inside, False), (norm if outof else "", True)], x + 30, box)
    return out
