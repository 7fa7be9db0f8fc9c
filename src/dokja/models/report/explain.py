"""An architecture in plain sentences: what a token meets, and what differs from a Llama block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..cost import parameters
from ..spec import MLP, POST, PRE, Attention, LatentAttention, Layer, Linear, Llama3, ModelSpec, MoE, Rope, Yarn
from .describe import (
    attention_in_words,
    by_share,
    ffn_in_words,
    heads_in_words,
    own_scale,
    placement_in_words,
    positions_in_words,
    reach_in_words,
    rope_in_words,
    runs,
    share_of,
    short,
)


def explain(spec: ModelSpec) -> list[tuple[str, str]]:
    """Headed paragraphs."""
    return [
        ("What a token meets", " ".join(_path(spec))),
        ("Attention", " ".join(_attention(spec))),
        ("Positions", _positions(spec)),
        ("Norms", _norms(spec)),
        ("Feed-forward", " ".join(_feed_forward(spec))),
        *([("Draft tokens", _mtp(spec))] if spec.mtp else []),
        ("Against a Llama block", "; ".join(differences(spec)) + "."),
    ]


def _path(spec: ModelSpec) -> Iterator[str]:
    count = parameters(spec)
    scaled = f", multiplied by {spec.embedding_scale:g}," if spec.embedding_scale != 1 else ""
    yield (f"Its row of a table of {spec.vocab:,} x {spec.width:,}{scaled} passes {len(spec.layers)} layers of an "
           f"attention and a feed-forward each, a last norm, and a head that scores {spec.vocab:,} tokens"
           f"{' with the same table' if spec.tied else ''}{', with a bias' if spec.head_bias else ''}.")
    if spec.logit_scale != 1:
        yield f"The scores are multiplied by {spec.logit_scale:g}."
    if spec.residual_scale != 1:
        yield f"What each half-layer adds is multiplied by {spec.residual_scale:g}."
    used = f"{short(count.active)} of them for any one token" if count.active < count.trunk else "all of them each time"
    yield f"There are {short(count.total)} parameters; it meets {used}."
    yield f"A sequence may have {spec.context:,} tokens."


def _attention(spec: ModelSpec) -> Iterator[str]:
    yield f"{attention_in_words(spec)}."
    mixers = list(dict.fromkeys(layer.mixer for layer in spec.layers))
    yield from dict.fromkeys(map(_mixer, mixers))
    windows = sorted({mixer.window for mixer in mixers if mixer.window})
    if windows and any(mixer.window is None for mixer in mixers):
        shares = share_of(spec.layers, lambda layer: layer.mixer.window is not None)
        yield (f"In {shares} layers a token sees only the last {' or '.join(f'{w:,}' for w in windows)} positions, "
               "itself included, so their cache stops growing there; the other layers see everything before it.")


def _mixer(mixer: Attention | LatentAttention) -> str:
    if isinstance(mixer, LatentAttention):
        query = "straight from the input" if mixer.q_rank is None else f"through a normalised {mixer.q_rank:,} numbers"
        return (f"Keys and values of all {mixer.heads} heads are unfolded from one normalised latent of "
                f"{mixer.kv_rank} numbers; a head compares {mixer.nope_dim} numbers without positions and "
                f"{mixer.rope_dim} with them, which all heads share on the key side, and returns {mixer.v_dim}. "
                f"Queries come {query}. The cache keeps {mixer.kv_rank} + {mixer.rope_dim} numbers a position."
                + _sparse_and_gated(mixer))
    shared = mixer.heads // mixer.kv_heads
    group = "a key and value head of its own" if shared == 1 else (
        f"{mixer.kv_heads} key and value {'head' if mixer.kv_heads == 1 else 'heads'}, {shared} queries to each")
    words = [f"{mixer.heads} query heads of {mixer.head_dim} numbers with {group}"]
    if mixer.qk_norm:
        words.append("an RMSNorm on each head of Q and K")
    if mixer.bias or mixer.out_bias:
        where = [*(["Q, K and V"] if mixer.bias else []), *(["the output"] if mixer.out_bias else [])]
        words.append(f"biases on {' and '.join(where)}")
    if mixer.sinks:
        words.append("a learnt logit a head that takes attention and gives nothing (a sink)")
    if own_scale(mixer) is not None:
        words.append(f"scores multiplied by {mixer.scale:g} instead of 1/sqrt({mixer.head_dim}) = "
                     f"{mixer.head_dim**-0.5:.4g}")
    return ", ".join(words) + "."


def _sparse_and_gated(mixer: LatentAttention) -> str:
    text = ""
    if (indexer := mixer.indexer) is not None:
        text += (f" An indexer of {indexer.heads} small heads first scores all that a token sees against one key of "
                 f"{indexer.dim} numbers a position, cached as well; attention reads only the best {indexer.top:,}.")
    return text + (" What a head returns is multiplied by the sigmoid of as many numbers from the queries' latent."
                   if mixer.gate else "")


def _rope(rope: Rope | None) -> Iterator[str]:
    """What to know of a layer's positions beyond their base and dimensions."""
    match rope.scaling if rope else None:
        case Linear(factor):
            yield f"positions are divided by {factor:g}"
        case Llama3() as llama:
            yield (f"slow waves are stretched {llama.factor:g} times, for texts beyond {llama.original_context:,} "
                   "tokens")
        case Yarn() as yarn:
            yield (f"first trained at {yarn.original_context:,}, stretched {yarn.factor:g} times by interpolating slow "
                   "waves")
    if rope is not None and rope.layout == "interleaved":
        yield "dimensions are paired 2i with 2i + 1"


def _where(spec: ModelSpec, found: Sequence[Layer]) -> str:
    """Which layers, in words to open a clause with; nothing where it is all of them."""
    if len(found) == len(spec.layers):
        return ""
    for words, windowed in (("in window layers ", True), ("in global layers ", False)):
        if list(found) == [layer for layer in spec.layers if bool(layer.mixer.window) is windowed]:
            return words
    return f"in {share_of(spec.layers, lambda layer: layer in found)} layers "


def _positions(spec: ModelSpec) -> str:
    layers: dict[str, list[Layer]] = {}
    for layer in spec.layers:
        for note in _rope(layer.mixer.rope):
            layers.setdefault(note, []).append(layer)
    parts = [positions_in_words(spec), *(_where(spec, found) + note for note, found in layers.items())]
    if any(layer.mixer.rope is None for layer in spec.layers):
        parts.append("a layer without positions still knows the order from the causal mask and from the layers that "
                     "have them")
    return "; ".join(parts) + "."


def _norms(spec: ModelSpec) -> str:
    kind = "RMSNorm" if spec.norm == "rms" else "LayerNorm with a bias"
    text = f"{kind}, epsilon {spec.norm_eps:g}"
    if spec.norm_zero_centred:
        text += ", stored around zero (a weight w acts as 1 + w)"
    if any(layer.parallel for layer in spec.layers):
        return text + "; attention and feed-forward read the same normalised input and are added at once."
    places = {PRE: "on the input of attention and of feed-forward, as in Llama",
              POST: "on the output of attention and of feed-forward, before it is added; none on the input"}

    gates = {rank for layer in spec.layers for rank in (layer.norms.mixer_gate, layer.norms.ffn_gate) if rank}
    if gates:
        text += (f"; a gated one is multiplied by the sigmoid of two small matrices of rank "
                 f"{' or '.join(map(str, sorted(gates)))} on its own output")

    def where(layer: Layer) -> str:
        return places.get(layer.norms) or placement_in_words(layer.norms)

    return f"{text}; {by_share(spec.layers, where)}."


def _feed_forward(spec: ModelSpec) -> Iterator[str]:
    yield by_share(spec.layers, ffn_in_words) + "."
    for moe in dict.fromkeys(layer.ffn for layer in spec.layers if isinstance(layer.ffn, MoE)):
        router = moe.router
        groups = f" inside the best {router.groups_kept} of {router.groups} groups" if router.groups > 1 else ""
        bias = (" A bias for each expert, kept by the trainer to balance the load, takes part in the choice but not in "
                "the weight.") if router.bias else ""
        shared = f" {moe.shared} more {'runs' if moe.shared == 1 else 'run'} for every token." if moe.shared else ""
        scale = f", times {router.scale:g}" if router.scale != 1 else ""
        yield (f"A router scores {moe.experts} experts by {router.score} and takes the best {moe.active}{groups}; "
               f"their outputs are added by score over the sum of the chosen{scale}.{bias}{shared}")


def _mtp(spec: ModelSpec) -> str:
    kinds = dict.fromkeys(f"{heads_in_words(layer.mixer)} {reach_in_words(layer.mixer)}, {ffn_in_words(layer)}"
                          for layer in spec.mtp)
    one = len(spec.mtp) == 1
    return (f"{len(spec.mtp)} layer{'' if one else 's'} after the trunk ({'; '.join(kinds)}) "
            f"{'joins' if one else 'join'} the last state with the next token's embedding and "
            f"{'predicts' if one else 'predict'} one token further, through the same head.")


def differences(spec: ModelSpec) -> list[str]:
    """What a reader must learn who knows Llama: RMSNorm on inputs, grouped-query attention that sees everything, RoPE
    in every layer, a dense SwiGLU, no biases, no multipliers."""
    mixers = dict.fromkeys(layer.mixer for layer in spec.layers)
    plain = [mixer for mixer in mixers if isinstance(mixer, Attention)]
    ffns = dict.fromkeys(layer.ffn for layer in spec.layers)
    experts = share_of(spec.layers, lambda layer: isinstance(layer.ffn, MoE))
    facts = {
        "latent attention instead of grouped-query": len(plain) < len(mixers),
        "every head has keys and values of its own": any(m.heads == m.kv_heads for m in plain),
        "Q and K are normalised by head": any(m.qk_norm for m in plain),
        "biases in attention": any(m.bias or m.out_bias for m in plain),
        "each head's output is gated": any(m.gate for m in mixers if isinstance(m, LatentAttention)),
        "sparse attention: an indexer chooses positions": spec.indexed,
        "attention sinks": any(m.sinks for m in plain),
        f"windows in {share_of(spec.layers, lambda layer: layer.mixer.window is not None)} layers":
            any(m.window for m in mixers),
        "layers without positions": any(m.rope is None for m in mixers),
        "more than one set of positions": len({m.rope for m in mixers if m.rope}) > 1,
        "positions in part of each head": any(m.rope and m.rope.dims for m in plain),
        "LayerNorm instead of RMSNorm": spec.norm == "layer",
        f"norms: {by_share(spec.layers, lambda layer: placement_in_words(layer.norms))}":
            not any(layer.parallel for layer in spec.layers) and any(layer.norms != PRE for layer in spec.layers),
        "norm weights act as 1 + w": spec.norm_zero_centred,
        "attention and feed-forward side by side": any(layer.parallel for layer in spec.layers),
        f"experts in {experts} layers": any(isinstance(ffn, MoE) for ffn in ffns),
        "a feed-forward without a gate": any(isinstance(ffn, MLP) and not ffn.gated for ffn in ffns),
        "biases in feed-forwards": any(ffn.bias for ffn in ffns),
        f"activation {' / '.join(dict.fromkeys(ffn.activation for ffn in ffns))}":
            any(ffn.activation != "silu" for ffn in ffns),
        "fixed multipliers": (spec.embedding_scale, spec.residual_scale, spec.logit_scale) != (1, 1, 1),
        "a scale of its own on scores": any(own_scale(mixer) is not None for mixer in mixers),
        "a bias on the head": spec.head_bias,
        "block skip connections: " + ", ".join(
            f"layer {skip.target} mixes in {skip.share:g} of the state before layer {skip.source}"
            for skip in spec.skips): bool(spec.skips),
        f"{len(spec.mtp)} multi-token-prediction layer{'s' if len(spec.mtp) > 1 else ''}": bool(spec.mtp),
    }
    return [words for words, true in facts.items() if true] or ["none: it is one"]


def layer_kinds(spec: ModelSpec) -> list[tuple[str, str]]:
    """Which layers are alike: their numbers, collapsed, and what each is."""
    found: dict[str, list[int]] = {}
    for index, layer in enumerate(spec.layers):
        mixer, ffn = layer.mixer, ffn_in_words(layer)
        norm = "" if layer.norms == PRE else f"; norms: {placement_in_words(layer.norms)}"
        words = (f"{heads_in_words(mixer)}, {reach_in_words(mixer)}"
                 f"{f', {rope_in_words(mixer.rope)}' if mixer.rope else ''}; {ffn}{norm}")
        found.setdefault(words, []).append(index)
    return [(f"{runs(indices)} ({len(indices)})" if len(indices) > 1 else str(indices[0]), words)
            for words, indices in found.items()]
