"""The figures of docs/models.md: attention pattern of every family, and the places where blocks normalise."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from textwrap import wrap

from ..spec import ModelSpec, Norms
from .describe import Lang, attention_in_words
from .draw import attention_kind, reach, rect, svg, text
from .facts import Entry

_WORDS: dict[Lang, dict[str, str]] = {
    "en": {"attention": "Attention: a bar a layer, from the first to the last", "grouped": "grouped or multi-head",
           "latent": "latent (MLA)", "hollow": "hollow: no positions",
           "height": "height: how far back the layer sees, logarithmic, up to the model's context",
           "norms": "Norms: where a layer normalises", "norm": "norm", "mixer": "attention", "ffn": "feed-forward",
           "out": "to the next layer", "x": "from the layer before",
           "share": "(1/61): in one of the model's 61 layers"},
    "ko": {"attention": "어텐션: 막대 하나가 층 하나, 첫 층부터 끝 층까지", "grouped": "그룹 또는 다중 헤드",
           "latent": "잠재(MLA)", "hollow": "빈 막대: 위치 없음",
           "height": "높이: 층이 얼마나 멀리 되돌아보는가(로그 눈금, 모델의 문맥 길이까지)",
           "norms": "정규화: 층의 어디에서 정규화하는가", "norm": "정규화", "mixer": "어텐션", "ffn": "피드포워드",
           "out": "다음 층으로", "x": "앞 층에서", "share": "(1/61): 모델의 61개 층 가운데 하나에서"},
}


def figures(found: Sequence[Entry], lang: Lang = "en") -> dict[str, str]:
    """File names and their SVG."""
    return {f"models-attention.{lang}.svg": attention_figure(found, lang),
            f"models-norms.{lang}.svg": norms_figure(found, lang)}


def attention_figure(found: Sequence[Entry], lang: Lang) -> str:
    """A row of bars for every different attention and depth of every family; sizes that share one stand together."""
    words, drawn = _WORDS[lang], _alike(found, lambda spec: (attention_in_words(spec), len(spec.layers)))
    width, left, row, height = 880.0, 352.0, 46.0, 26.0
    body = [text(20, 30, words["attention"], size=16, weight=600), text(20, 50, words["height"], kind="soft")]
    x = 20.0
    for kind, key in (("grouped", "grouped"), ("latent", "latent"), ("hollow grouped", "hollow")):
        body += [rect(x, 61, 12, 12, kind), text(x + 17, 72, words[key])]
        x += 40 + 8.0 * len(words[key]) * (1.4 if lang == "ko" else 0.85)
    top = 92.0
    for spec, names in drawn:
        said = wrap(attention_in_words(spec, lang), 62 if lang == "en" else 50)
        body.append(text(20, top + 13, names, size=12, weight=600))
        body += [text(20, top + 29 + 12 * index, line, size=10, kind="soft") for index, line in enumerate(said)]
        bar = (width - left - 60) / len(spec.layers)
        for index, layer in enumerate(spec.layers):
            tall = height * reach(layer.mixer, spec.context)
            body.append(rect(left + index * bar, top + 4 + height - tall, max(bar - 1.2, 1), tall,
                             attention_kind(layer.mixer), 0))
        body.append(text(width - 20, top + 4 + height, str(len(spec.layers)), size=10, anchor="end", kind="soft"))
        top += row + 12 * (len(said) - 1)
    return svg(width, top + 8, body, words["attention"], alone=True)


def _alike(found: Sequence[Entry], key: Callable[[ModelSpec], Hashable]) -> list[tuple[ModelSpec, str]]:
    """One spec for each family and different value of `key`, with the family's title and, where the family has several
    values, the sizes that have this one."""
    out: dict[tuple[str, Hashable], tuple[ModelSpec, str, dict[str, None]]] = {}
    for entry in found:
        spec = entry.release.spec
        place = out.setdefault((entry.family.name, key(spec)), (spec, entry.family.title, {}))
        place[2][_size(spec.name)] = None
    several = [title for _, title, _ in out.values()]
    return [(spec, f"{title} {', '.join(sizes)}" if several.count(title) > 1 else title)
            for spec, title, sizes in out.values()]


def _size(name: str) -> str:
    """The size in a model's name: 112B of vaetki-112b-a10b."""
    return next((part.upper() for part in name.split("-") if re.fullmatch(r"[\d.]+[bm]", part)), name)


def norms_figure(found: Sequence[Entry], lang: Lang) -> str:
    """One block a different placement, and the families whose layers have it; those with several say how many."""
    words, users = _WORDS[lang], _placements(found, lang)
    column, tall, across = 226.0, 300.0, 5
    lines = {key: _broken(titles, 26) for key, titles in users.items()}
    high = tall + 16 * max(map(len, lines.values())) + 24
    body = [text(20, 30, words["norms"], size=16, weight=600), text(20, 50, words["share"], kind="soft")]
    for number, ((norms, parallel), titles) in enumerate(sorted(lines.items(), key=lambda item: -len(item[1]))):
        x, y = 20 + number % across * column, 82 + number // across * high
        body += (_parallel if parallel else _block)(norms, x, y, words)
        body += [text(x, y + tall + 16 * index, line, size=12, weight=600) for index, line in enumerate(titles)]
    return svg(20 + across * column, 76 + -(-len(users) // across) * high, body, words["norms"], alone=True)


def _placements(found: Sequence[Entry], lang: Lang) -> dict[tuple[Norms, bool], list[str]]:
    """Who normalises where: a family's title, with the size where its models differ and with the share of layers where
    a model's layers differ."""
    kinds: dict[str, set[frozenset[tuple[Norms, bool]]]] = {}
    for entry in found:
        kinds.setdefault(entry.family.name, set()).add(frozenset(
            (layer.norms.ungated, layer.parallel) for layer in entry.release.spec.layers))
    users: dict[tuple[Norms, bool], list[str]] = {}
    for entry in found:
        layers = entry.release.spec.layers
        name = entry.family.title if len(kinds[entry.family.name]) == 1 else (
            f"{entry.family.title} {_size(entry.release.spec.name)}")
        for place in dict.fromkeys((layer.norms.ungated, layer.parallel) for layer in layers):
            count = sum((layer.norms.ungated, layer.parallel) == place for layer in layers)
            label = name if count == len(layers) else f"{name} ({count}/{len(layers)})"
            if label not in users.setdefault(place, []):
                users[place].append(label)
    return users


def _broken(titles: Sequence[str], width: int) -> list[str]:
    lines = [""]
    for index, title in enumerate(titles):
        piece = title + ("," if index < len(titles) - 1 else "")
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {piece}".strip()
    return lines


BOX, HIGH = 116.0, 22.0


def _stream(x: float, y: float, words: dict[str, str]) -> list[str]:
    """The residual stream of one layer, from above to below."""
    return [text(x, y, words["x"], size=10, kind="soft"), text(x, y + 276, words["out"], size=10, kind="soft"),
            f'<path d="M{x + 6} {y + 8}V{y + 262}" class="wire"/>']


def _part(x: float, y: float, wide: float, name: str, kind: str) -> list[str]:
    return [rect(x, y, wide, HIGH, kind, 4), text(x + wide / 2, y + 15, name, size=11, anchor="middle",
                                                  kind="on" if kind == "norm" else "")]


def _plus(x: float, y: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="5" class="box"/><path d="M{x - 3} {y}h6m-3 -3v6" class="wire"/>'


def _block(norms: Norms, x: float, y: float, words: dict[str, str]) -> list[str]:
    """A layer whose halves follow each other."""
    out, stream, left = _stream(x, y, words), x + 6, x + 30
    for top, inside, into, outof in ((y + 20, words["mixer"], norms.mixer_in, norms.mixer_out),
                                     (y + 144, words["ffn"], norms.ffn_in, norms.ffn_out)):
        out.append(f'<path d="M{stream} {top}H{left + BOX / 2}V{top + 104}H{stream}" class="wire"/>')
        out += _part(left, top + 8, BOX, words["norm"], "norm") if into else []
        out += _part(left, top + 36, BOX, inside, "box")
        out += _part(left, top + 64, BOX, words["norm"], "norm") if outof else []
        out.append(_plus(stream, top + 104))
    return out


def _parallel(norms: Norms, x: float, y: float, words: dict[str, str]) -> list[str]:
    """A layer whose halves read the same normalised input and are added at once."""
    stream, left, wide = x + 6, x + 22, 80.0
    first, second, top = left + wide / 2, left + 1.5 * wide + 6, y + 60
    middle = (first + second) / 2
    out = [*_stream(x, y, words), f'<path d="M{stream} {top}H{middle}V{top + 52}" class="wire"/>',
           f'<path d="M{first} {top + 104}V{top + 52}H{second}V{top + 104}" class="wire"/>',
           f'<path d="M{first} {top + 80}V{top + 124}H{second}V{top + 80}M{middle} {top + 124}V{top + 140}H{stream}" '
           'class="wire"/>']
    out += _part(middle - BOX / 2, top + 14, BOX, words["norm"], "norm") if norms.mixer_in else []
    out += [*_part(left, top + 76, wide, words["mixer"], "box"),
            *_part(left + wide + 6, top + 76, wide, words["ffn"], "box"), _plus(stream, top + 140)]
    return out
