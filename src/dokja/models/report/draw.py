"""Drawing a model's layers as SVG: the same marks on the page of `compare` and in the figures of the docs.

A bar of attention ends at the token that looks and reaches back as far as the layer sees, on a logarithmic scale; it is
filled where the layer has positions and hollow where it has none. A bar of a feed-forward is all its weights, and its
filled part what one token uses.
"""

from __future__ import annotations

import math
from html import escape

from ..cost import kept_positions
from ..spec import Attention, Layer, Mixer, ModelSpec, MoE

FONT = "system-ui, -apple-system, 'Noto Sans KR', 'Noto Sans CJK KR', 'Apple SD Gothic Neo', sans-serif"
_LIGHT = {"ink": "#1d2430", "soft": "#5b6575", "line": "#d5dae2", "track": "#eceff4", "paper": "#ffffff",
          "grouped": "#2f6fde", "latent": "#0f8a75", "dense": "#8a5bd0", "experts": "#8a5bd0", "shared": "#d0578f",
          "norm": "#d98a00"}
_DARK = {"ink": "#e8ecf3", "soft": "#9aa6b8", "line": "#3a4352", "track": "#262d39", "paper": "#161b23",
         "grouped": "#6ea1ff", "latent": "#3fc4aa", "dense": "#b58cf2", "experts": "#b58cf2", "shared": "#f08bb8",
         "norm": "#f2b440"}


def palette() -> str:
    """CSS variables, light and dark."""
    def variables(colours: dict[str, str]) -> str:
        return "".join(f"--{name}:{value};" for name, value in colours.items())

    return f":root{{{variables(_LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{variables(_DARK)}}}}}"


# A hollow bar is drawn inside its own edge, so that it is as large as a filled one.
MARKS = (f"text{{font-family:{FONT};fill:var(--ink)}}.soft{{fill:var(--soft)}}.track{{fill:var(--track)}}"
         ".grouped{fill:var(--grouped)}.latent{fill:var(--latent)}.dense{fill:var(--dense)}"
         ".experts{fill:var(--experts)}.shared{fill:var(--shared)}.norm{fill:var(--norm)}"
         ".hollow{fill:var(--paper);stroke-width:1.5}.hollow.grouped{stroke:var(--grouped)}"
         ".hollow.latent{stroke:var(--latent)}.edge{fill:none;stroke:var(--line);stroke-width:1}"
         ".wire{fill:none;stroke:var(--soft);stroke-width:1.2}.box{fill:var(--track);stroke:var(--line)}.on{fill:#1d2430}")


def rect(x: float, y: float, width: float, height: float, kind: str, radius: float = 1) -> str:
    """A filled rectangle, or a hollow one of the same outer size."""
    if kind.startswith("hollow"):
        x, y, width, height = x + 0.75, y + 0.75, max(width - 1.5, 0.5), max(height - 1.5, 0.5)
    return (f'<rect x="{x:.5g}" y="{y:.5g}" width="{width:.5g}" height="{height:.5g}" rx="{radius:g}" '
            f'class="{kind}"/>')


def text(x: float, y: float, words: str, *, size: float = 12, anchor: str = "start", kind: str = "",
         weight: int = 400) -> str:
    """A line of text; y is its baseline."""
    return (f'<text x="{x:.5g}" y="{y:.5g}" font-size="{size:g}" text-anchor="{anchor}" font-weight="{weight}"'
            f'{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(words)}</text>')


def svg(width: float, height: float, body: list[str], label: str, *, alone: bool = False) -> str:
    """A drawing that scales to its place; `alone`: a file of its own, with its colours and its paper."""
    inside = [f"<style>{palette()}{MARKS}</style>", rect(0, 0, width, height, "paper", 0).replace(
        'class="paper"', 'fill="var(--paper)"')] if alone else []
    size = f' width="{width:g}" height="{height:g}"' if alone else ""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"{size} role="img" '
            f'aria-label="{escape(label, quote=True)}">' + "\n".join([*inside, *body]) + "</svg>")


def reach(mixer: Mixer, context: int) -> float:
    """How far back a layer sees, 0 to 1, on a logarithmic scale up to the model's context."""
    return math.log2(1 + kept_positions(mixer, context)) / math.log2(1 + context)


def attention_kind(mixer: Mixer) -> str:
    """The class of a bar of attention."""
    kind = "grouped" if isinstance(mixer, Attention) else "latent"
    return kind if mixer.rope else f"hollow {kind}"


TOP, ATTENTION, FFN = 34, (36, 134), (196, 118)  # the first layer's y; x and width of the two bars
NORM = 3.0


def stack(spec: ModelSpec, labels: dict[str, str]) -> str:
    """A model's layers from the first, above, to the last and its MTP layers; labels: attention, ffn, mtp."""
    count = len(spec.layers) + len(spec.mtp)
    step = 11.0 if count <= 40 else 8.5
    body = [text(ATTENTION[0] + ATTENTION[1] / 2, 18, labels["attention"], anchor="middle", kind="soft"),
            text(FFN[0] + FFN[1] / 2, 18, labels["ffn"], anchor="middle", kind="soft")]
    for index, layer in enumerate(spec.layers):
        y = TOP + index * step
        if index % 8 == 0 or index == len(spec.layers) - 1:
            body.append(text(24, y + step - 3, str(index), size=9, anchor="end", kind="soft"))
        body += _row(layer, y, step - 2.5, spec.context)
    for skip in spec.skips:
        a, b = TOP + skip.source * step, TOP + skip.target * step
        body.append(f'<path d="M30 {a:.5g} C 8 {a:.5g} 8 {b:.5g} 30 {b:.5g}" class="wire"/>')
    bottom = TOP + len(spec.layers) * step
    for index, layer in enumerate(spec.mtp):
        y = bottom + 8 + index * step
        body.append(text(24, y + step - 3, labels["mtp"], size=8, anchor="end", kind="soft"))
        body += _row(layer, y, step - 2.5, spec.context)
    height = bottom + (12 + len(spec.mtp) * step if spec.mtp else 4)
    return svg(320, height, body, f"{spec.name}: {len(spec.layers)} layers")


def _row(layer: Layer, y: float, height: float, context: int) -> list[str]:
    (ax, aw), (fx, fw) = ATTENTION, FFN
    place, ffn = layer.norms, layer.ffn
    length = aw * reach(layer.mixer, context)
    out = [rect(ax, y, aw, height, "track"), rect(ax + aw - length, y, length, height, attention_kind(layer.mixer)),
           rect(fx, y, fw, height, "track")]
    if isinstance(ffn, MoE):
        shared, active = (fw * part / (ffn.experts + ffn.shared) for part in (ffn.shared, ffn.active))
        out += [rect(fx, y, active, height, "experts", 0)]
        out += [rect(fx + active, y, shared, height, "shared", 0)] if ffn.shared else []
    else:
        out.append(rect(fx, y, fw, height, "dense"))
    for x, placed in ((ax - NORM - 1, place.mixer_in), (ax + aw + 1, place.mixer_out),
                      (fx - NORM - 1, place.ffn_in and not layer.parallel), (fx + fw + 1, place.ffn_out)):
        out += [rect(x, y, NORM, height, "norm", 0)] if placed else []
    middle, gap = y + height / 2, (ax + aw + 6, fx - 6)
    if layer.parallel:
        out += [f'<path d="M{gap[0] + 4} {middle - 1.5:.5g}h8m-8 3h8" class="wire"/>']
    else:
        out += [f'<path d="M{gap[0]} {middle:.5g}H{gap[1]}" class="edge"/>']
    return out
