"""An architecture in a few words, English or Korean: what tables and figures say. All of it follows from the spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from ..scaling import pattern_period
from ..spec import (
    MLP,
    PERI,
    POST,
    PRE,
    PRE_AND_FFN_OUT,
    Attention,
    LatentAttention,
    Layer,
    Linear,
    Llama3,
    Mixer,
    ModelSpec,
    MoE,
    Norms,
    Rope,
)

Lang = Literal["en", "ko"]

_TEXT: dict[Lang, dict[str, str]] = {
    "en": {
        "all": "all {what}", "some": "{share} layers {what}", "share": "{a} of {b}", "every": "all {b}",
        "rest": "{what}", "multiplied": "{what} x{by:g}", "embedding": "embedding", "residual": "half-layers",
        "logits": "logits", "scores": "scores",
        "window": "window {window:,}", "global": "global", "unplaced": "{reach} without positions",
        "sinks": "with sinks", "latent": "MLA {heads} heads, kv {kv}+{rope}", "qk": "QK-norm", "bias": "QKV bias",
        "pre": "pre", "post": "post", "peri": "pre + post", "ffn_out": "pre, + feed-forward output",
        "gated": "{places}, gated ({halves})", "best": "{reach}, best {top:,} positions by an indexer",
        "output_gate": "output gate",
        "in": "{part} input", "out": "{part} output", "mixer": "attention", "ffn": "feed-forward", "no": "none",
        "parallel": "one for both halves (parallel)", "where": "{what} in {share} layers", "zero": "weights 1 + w",
        "dims": "{dims} dimensions", "from": "YaRN x{factor:g} from {original:,}", "linear": "linear x{factor:g}",
        "llama3": "llama3 x{factor:g} from {original:,}", "pairs": "interleaved", "none": "none",
        "in_window": "{what} in window layers", "in_global": "{what} in global layers",
        "dense": "dense {width:,}", "plain": "dense {width:,}, not gated",
        "experts": "{active} of {experts}{shared} experts, {width:,} wide", "shared": " + {shared} shared",
        "bias_router": "bias", "groups": "best {kept} of {groups} groups", "scale": "scale {scale:g}",
        "logit_bias": "logit bias",
    },
    "ko": {
        "all": "모두 {what}", "some": "{share}층 {what}", "share": "{b}층 중 {a}", "every": "{b}개 모든 ",
        "rest": "나머지 {what}", "multiplied": "{what} x{by:g}", "embedding": "임베딩", "residual": "반층",
        "logits": "로짓", "scores": "점수",
        "window": "창 {window:,}", "global": "전역", "unplaced": "{reach}(위치 없음)",
        "sinks": "싱크 있음", "latent": "MLA {heads}헤드, kv {kv}+{rope}", "qk": "QK-norm", "bias": "QKV 편향",
        "pre": "앞(pre)", "post": "뒤(post)", "peri": "앞뒤(pre + post)", "ffn_out": "앞, 피드포워드는 뒤에도",
        "gated": "{places}, 게이트({halves})", "best": "{reach}, 인덱서가 고른 {top:,}곳만",
        "output_gate": "출력 게이트",
        "in": "{part} 입력", "out": "{part} 출력", "mixer": "어텐션", "ffn": "피드포워드", "no": "없음",
        "parallel": "두 갈래가 하나를 함께 씀(병렬)", "where": "{share}층 {what}", "zero": "가중치 1 + w",
        "dims": "{dims}차원", "from": "YaRN {factor:g}배({original:,}부터)", "linear": "선형 {factor:g}배",
        "llama3": "llama3 {factor:g}배({original:,}부터)", "pairs": "교차 배치", "none": "없음",
        "in_window": "창 층 {what}", "in_global": "전역 층 {what}",
        "dense": "밀집 {width:,}", "plain": "밀집 {width:,}, 게이트 없음",
        "experts": "전문가 {experts}개 중 {active}개{shared}, 폭 {width:,}", "shared": " + 공유 {shared}개",
        "bias_router": "편향", "groups": "{groups}그룹 중 상위 {kept}", "scale": "배율 {scale:g}",
        "logit_bias": "로짓 편향",
    },
}


def say(lang: Lang, key: str, **values: object) -> str:
    """One phrase of this page's vocabulary."""
    return _TEXT[lang][key].format(**values)


def short(count: float, lang: Lang = "en") -> str:
    """A count of parameters as people say it: 237.1B, 1.28B, 519B; 2,371억, 12.8억."""
    if lang == "ko":
        return f"{count / 1e8:,.0f}억" if count >= 1e10 else f"{count / 1e8:,.1f}억"
    if count < 999.5e6:
        return f"{count / 1e6:.3g}M"
    return f"{count / 1e9:.2f}B" if count < 1e10 else f"{count / 1e9:.1f}B"


def share_of(layers: Sequence[Layer], matches: Callable[[Layer], bool], lang: Lang = "en") -> str:
    """How many layers: "3 of 4" where that repeats, "60 of 61" where it does not."""
    found = [matches(layer) for layer in layers]
    period = pattern_period(layers)
    if len(found) < 2 * period or any(one != found[i % period] for i, one in enumerate(found)):
        period = len(found)
    if all(found):
        return say(lang, "every", b=len(found))
    return say(lang, "share", a=sum(found[:period]), b=period)


def heads_in_words(mixer: Mixer, lang: Lang = "en") -> str:
    """The heads of a mixer: GQA 64/8, MHA 16, MLA 64 heads with its latent."""
    if not isinstance(mixer, Attention):
        return say(lang, "latent", heads=mixer.heads, kv=mixer.kv_rank, rope=mixer.rope_dim)
    if mixer.heads == mixer.kv_heads:
        return f"MHA {mixer.heads}"
    return f"MQA {mixer.heads}" if mixer.kv_heads == 1 else f"GQA {mixer.heads}/{mixer.kv_heads}"


def reach_in_words(mixer: Mixer, lang: Lang = "en") -> str:
    """What a layer sees: "window 128", "global without positions"."""
    reach = say(lang, "window", window=mixer.window) if mixer.window else say(lang, "global")
    if isinstance(mixer, LatentAttention) and mixer.indexer:
        reach = say(lang, "best", reach=reach, top=mixer.indexer.top)
    return reach if mixer.rope else say(lang, "unplaced", reach=reach)


def attention_in_words(spec: ModelSpec, lang: Lang = "en") -> str:
    """The attention of a model: "GQA 64/8, 3 of 4 layers window 128, global without positions"."""
    layers = spec.layers
    extras = [say(lang, "sinks")] if any(isinstance(one.mixer, Attention) and one.mixer.sinks for one in layers) else []
    if any(isinstance(one.mixer, LatentAttention) and one.mixer.gate for one in layers):
        extras.append(say(lang, "output_gate"))
    heads = list(dict.fromkeys(heads_in_words(layer.mixer, lang) for layer in layers))
    reaches = Counter(reach_in_words(layer.mixer, lang) for layer in layers)
    if len(reaches) == 1:
        return ", ".join([" / ".join(heads), *extras, say(lang, "all", what=next(iter(reaches)))])
    # Windows first, then what is left; the last kind needs no count.
    order = sorted(reaches, key=lambda words: (words.startswith(say(lang, "global")), -reaches[words]))
    parts = [say(lang, "some", what=words, share=_share(layers, lambda layer: reach_in_words(layer.mixer, lang), words,
                                                        lang)) for words in order[:-1]]
    return ", ".join([" / ".join(heads), *extras, *parts, say(lang, "rest", what=order[-1])])


def rope_in_words(rope: Rope | None, lang: Lang = "en") -> str:
    """The positions of a layer: "RoPE 1e6, YaRN x4 from 32,768"."""
    if rope is None:
        return say(lang, "none")
    base = f"{rope.theta:.0e}".replace("e+0", "e").replace("e+", "e") if _round(rope.theta) else f"{rope.theta:,.0f}"
    parts = [f"RoPE {base}"]
    match rope.scaling:
        case None:
            pass
        case Linear(factor):
            parts.append(say(lang, "linear", factor=factor))
        case Llama3(factor, original):
            parts.append(say(lang, "llama3", factor=factor, original=original))
        case yarn:
            parts.append(say(lang, "from", factor=yarn.factor, original=yarn.original_context))
    if rope.dims is not None:
        parts.append(say(lang, "dims", dims=rope.dims))
    return ", ".join(parts)


def _round(theta: float) -> bool:
    return theta == float(f"{theta:.0e}")


def positions_in_words(spec: ModelSpec, lang: Lang = "en") -> str:
    """The positions of a model, by kind of layer where those differ."""
    kinds = list(dict.fromkeys((bool(layer.mixer.window), rope_in_words(layer.mixer.rope, lang))
                               for layer in spec.layers))
    if len({words for _, words in kinds}) == 1:
        return kinds[0][1]
    return "; ".join(say(lang, "in_window" if window else "in_global", what=words)
                     for window, words in sorted(kinds, reverse=True))


def placement_in_words(norms: Norms, lang: Lang = "en") -> str:
    """Where a layer normalises."""
    named = {PRE: "pre", POST: "post", PERI: "peri", PRE_AND_FFN_OUT: "ffn_out"}
    if norms != norms.ungated:
        gates = {"mixer": norms.mixer_gate, "ffn": norms.ffn_gate}
        halves = ", ".join(say(lang, half) for half, rank in gates.items() if rank)
        return say(lang, "gated", places=placement_in_words(norms.ungated, lang), halves=halves)
    if norms in named:
        return say(lang, named[norms])
    places = [say(lang, side, part=say(lang, half)) for half, side, placed in (
        ("mixer", "in", norms.mixer_in), ("mixer", "out", norms.mixer_out),
        ("ffn", "in", norms.ffn_in), ("ffn", "out", norms.ffn_out)) if placed]
    return ", ".join(places) or say(lang, "no")


def norms_in_words(spec: ModelSpec, lang: Lang = "en") -> str:
    """Norms of a model: kind, placement by share of layers, norms on Q and K."""
    def where(layer: Layer) -> str:
        return say(lang, "parallel") if layer.parallel else placement_in_words(layer.norms, lang)

    words = by_share(spec.layers, where, lang)
    parts = ["RMSNorm" if spec.norm == "rms" else "LayerNorm", words]
    if spec.norm_zero_centred:
        parts.append(say(lang, "zero"))
    if any(isinstance(layer.mixer, Attention) and layer.mixer.qk_norm for layer in spec.layers):
        parts.append(say(lang, "qk"))
    return ", ".join(parts)


def by_share(layers: Sequence[Layer], words: Callable[[Layer], str], lang: Lang = "en") -> str:
    """One phrase if all layers have the same, else each with its share of the layers, the most frequent first."""
    counts = Counter(map(words, layers))
    if len(counts) == 1:
        return words(layers[0])
    return "; ".join(say(lang, "where", what=what, share=_share(layers, words, what, lang))
                     for what, _ in counts.most_common())


def _share(layers: Sequence[Layer], words: Callable[[Layer], str], what: str, lang: Lang) -> str:
    return share_of(layers, lambda layer: words(layer) == what, lang)


def ffn_in_words(layer: Layer, lang: Lang = "en") -> str:
    """The feed-forward of a layer: "8 of 128 + 1 shared experts, 2,048 wide"."""
    ffn = layer.ffn
    if isinstance(ffn, MLP):
        return say(lang, "dense" if ffn.gated else "plain", width=ffn.width)
    shared = say(lang, "shared", shared=ffn.shared) if ffn.shared else ""
    return say(lang, "experts", active=ffn.active, experts=ffn.experts, shared=shared, width=ffn.width)


def ffns_in_words(spec: ModelSpec, lang: Lang = "en") -> str:
    """The feed-forwards of a model, by share of layers where they differ."""
    return by_share(spec.layers, lambda layer: ffn_in_words(layer, lang), lang)


def router_in_words(spec: ModelSpec, lang: Lang = "en") -> str:
    """How tokens choose experts; empty without experts."""
    routers = dict.fromkeys(layer.ffn.router for layer in spec.layers if isinstance(layer.ffn, MoE))
    out = []
    for router in routers:
        parts: list[str] = [router.score]
        parts += [say(lang, "bias_router")] * router.bias + [say(lang, "logit_bias")] * router.logit_bias
        if router.groups > 1:
            parts.append(say(lang, "groups", kept=router.groups_kept, groups=router.groups))
        if router.scale != 1:
            parts.append(say(lang, "scale", scale=router.scale))
        out.append(", ".join(parts))
    return "; ".join(out)


def multipliers_in_words(spec: ModelSpec, lang: Lang = "en") -> str:
    """Fixed multipliers other than 1; empty without any."""
    by = {"embedding": spec.embedding_scale, "residual": spec.residual_scale, "logits": spec.logit_scale}
    parts = [say(lang, "multiplied", what=say(lang, key), by=value) for key, value in by.items() if value != 1]
    scales = dict.fromkeys(own_scale(layer.mixer) for layer in spec.layers)
    return ", ".join([*parts, *(say(lang, "multiplied", what=say(lang, "scores"), by=scale) for scale in scales
                                if scale is not None)])


def own_scale(mixer: Mixer) -> float | None:
    """What scores are multiplied by, where that is not head_dim ** -0.5."""
    if not isinstance(mixer, Attention) or mixer.scale is None or abs(mixer.scale - mixer.head_dim**-0.5) < 1e-9:
        return None
    return mixer.scale


def runs(indices: Sequence[int]) -> str:
    """Layer numbers, collapsed: "0", "1-47", "3, 7, ..., 47", "0-2, 4-6, ..., 44-46"."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    return ", ".join(words if len(words) <= 4 else [*words[:2], "...", words[-1]])
