"""What `dokja models` says: inventories add up, savings and bills follow from first principles."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dokja.models.cost import forward_flops_per_token, parameters
from dokja.models.decoder import Decoder
from dokja.models.families import release
from dokja.models.report.bill import bill
from dokja.models.report.describe import attention_in_words, runs
from dokja.models.report.explain import differences, explain, layer_kinds
from dokja.models.report.facts import Entry, entries
from dokja.models.report.figures import figures
from dokja.models.report.hardware import GPUS, HEADROOM, PRECISIONS, weight_bytes
from dokja.models.report.inventory import inventory
from dokja.models.report.page import page
from dokja.models.report.saving import reached_at, saving
from dokja.models.report.tables import listing
from dokja.models.scaling import scaled
from dokja.models.spec import LatentAttention, Linear, ModelSpec, Rope

ALL = [pytest.param(entry, id=entry.release.spec.name) for entry in entries()]
PUBLISHED = {  # parameter totals as published, to the unit
    "a.x-k1-519b-a33b": 518_983_059_456, "hyperclova-x-seed-think-14b": 14_748_112_896,
    "vaetki-112b-a10b": 112_191_900_672, "solar-open-102b-a12b": 102_651_799_552,
    "exaone-4.0-32b": 32_003_216_384, "exaone-4.0-1.2b": 1_279_391_488, "kogpt-6b": 6_166_502_400,
}


def spec_of(name: str) -> ModelSpec:
    return release(name)[1].spec


@pytest.mark.parametrize(("name", "total"), PUBLISHED.items())
def test_totals_are_the_published_ones(name: str, total: int) -> None:
    assert parameters(spec_of(name)).total == total


def test_k_exaone_is_its_published_trunk_and_mtp_layer() -> None:
    parts = {part.name: part.parameters for part in inventory(spec_of("k-exaone-236b-a23b"))}
    assert parts.pop("MTP layers") == 528_513_280
    assert sum(parts.values()) == 236_571_156_352


@pytest.mark.parametrize("entry", ALL)
def test_an_inventory_adds_up(entry: Entry) -> None:
    spec = entry.release.spec
    for one in (spec, scaled(spec, 3_000_000, context=256)):
        assert sum(part.parameters for part in inventory(one)) == parameters(one).total
        assert sum(part.active for part in inventory(one)) == parameters(one).active


@pytest.mark.parametrize("name", ["k-exaone-236b-a23b", "vaetki-112b-a10b", "kogpt-6b", "gpt-oss-20b"])
def test_components_are_those_of_the_network(name: str) -> None:
    spec = scaled(spec_of(name), 3_000_000, context=256)
    with torch.device("meta"):
        model = Decoder(spec)
    found = {part.name: part.parameters for part in inventory(spec)}
    state = {key: tensor.numel() for key, tensor in model.state_dict().items()}
    assert found["embedding"] == state["embedding.weight"]
    assert found["norms"] == sum(size for key, size in state.items() if key.startswith(("norm.", "layers."))
                                 and ("norm" in key or "_in." in key or "_out." in key))
    assert found.get("MTP layers", 0) == sum(size for key, size in state.items() if key.startswith("mtp."))
    assert found["attention"] == sum(size for key, size in state.items() if ".mixer." in key and "norm" not in key
                                     and not key.startswith("mtp."))


@pytest.mark.parametrize("name", ["k-exaone-236b-a23b", "vaetki-112b-a10b", "gpt-oss-120b"])
@pytest.mark.parametrize("context", [100, 8192])
def test_savings_are_those_of_positions_counted_one_by_one(name: str, context: int) -> None:
    """All layers of these models have one shape, so cache and attention FLOPs are as the positions kept and seen."""
    spec = spec_of(name)
    windows = [layer.mixer.window or context for layer in spec.layers]
    kept = sum(min(window, context) for window in windows) / (len(windows) * context)
    seen = sum(sum(min(window, position + 1) for position in range(context)) for window in windows)
    found = saving(spec, context)
    assert found.cache == pytest.approx(1 - kept, abs=1e-12)
    assert found.attention == pytest.approx(1 - seen / (len(windows) * context * (context + 1) / 2), abs=1e-12)


def test_k_exaone_saves_more_than_the_published_70_percent_at_all_long_contexts() -> None:
    spec = spec_of("k-exaone-236b-a23b")
    exact = {8_192: (189 / 256, 0.7267470134566093), 32_768: (765 / 1024, 0.7441521581468002),
             131_072: (3069 / 4096, 0.7485358770881732), 262_144: (6141 / 8192, 0.7492677583352307)}
    for context, (cache, attention) in exact.items():
        found = saving(spec, context)
        assert (found.cache, found.attention) == (pytest.approx(cache, abs=1e-12), pytest.approx(attention, abs=1e-9))
    assert reached_at(spec, 0.7, "cache") == 1920  # 3/4 of (1 - 128 / n)
    assert saving(spec, 3774).attention < 0.7 <= saving(spec, 3775).attention
    assert reached_at(spec, 0.76, "cache") is None
    # LG's press release compares with EXAONE 4.0 as well: that holds for the cache at 8K.
    assert saving(spec, 8_192, spec_of("exaone-4.0-32b")).cache == pytest.approx(0.6859, abs=1e-4)


@pytest.mark.parametrize("entry", ALL)
def test_a_bill_follows_from_the_spec(entry: Entry) -> None:
    spec = entry.release.spec
    found = bill(spec, 4096, batch=3)
    assert found.weights["bfloat16"] == 2 * (parameters(spec).total - spec.unused)
    assert found.weights["float32"] == 2 * found.weights["bfloat16"]
    assert found.weights["int4"] < found.weights["fp8"] < found.weights["int8"] < found.weights["bfloat16"]
    assert found.cache <= found.cache_global
    head = 2 * spec.vocab * spec.width
    assert found.prefill.total == pytest.approx(4096 * (forward_flops_per_token(spec, 4096) - head) + head)
    latent = any(isinstance(layer.mixer, LatentAttention) for layer in spec.layers)
    assert (found.cache_expanded is not None) is latent
    if not latent:  # a prefill and one more token are a prefill of one more token
        longer = bill(spec, 4097).prefill
        assert found.prefill.matrices + found.decode.matrices - head == pytest.approx(longer.matrices)


def test_indexers_save_the_positions_that_are_not_read_and_cost_their_keys() -> None:
    spec = spec_of("ax-k2")
    found, mixer, seen = bill(spec, 8192).sparse, spec.layers[0].mixer, 8192 * 8193 // 2
    assert found is not None
    assert isinstance(mixer, LatentAttention)
    assert mixer.indexer is not None
    one = 2 * mixer.heads * (mixer.nope_dim + mixer.rope_dim + mixer.v_dim)
    read = sum(min(position + 1, mixer.indexer.top) for position in range(8192))
    cost = read * one + seen * 2 * mixer.indexer.heads * (mixer.indexer.dim + 1)
    assert found.attention == pytest.approx(1 - cost / (seen * one))
    assert found.cache == pytest.approx(-mixer.indexer.dim / (mixer.kv_rank + mixer.rope_dim))
    assert bill(spec_of("ax-k1"), 8192).sparse is None


def test_int4_is_what_its_assumption_says() -> None:
    spec = scaled(spec_of("solar-open-102b-a12b"), 5_000_000, context=256)
    packed = sum(part.matrices for part in inventory(spec)
                 if part.name in ("attention", "routed experts", "shared experts"))
    rest = parameters(spec).total - packed
    assert weight_bytes(spec, PRECISIONS["int4"]) == round(packed * (4 + 20 / 128) / 8 + 2 * rest)


@pytest.mark.parametrize("name", ["a.x-k1-519b-a33b", "k-exaone-236b-a23b", "exaone-4.0-1.2b"])
def test_sets_are_the_smallest_that_hold(name: str) -> None:
    spec = spec_of(name)
    found = bill(spec, 8192)
    for gpu in GPUS:
        held = found.sets[gpu.name]
        assert held is not None
        assert held.used <= gpu.memory * (1 - HEADROOM)
        assert held.count in (1, 2, 4) or held.count % 8 == 0
        assert held.count * held.used >= found.weights["bfloat16"] + found.cache - held.count
        before = held.count - 8 if held.count > 8 else held.count // 2
        assert before * gpu.memory * (1 - HEADROOM) < found.weights["bfloat16"] + found.cache or held.count == 1 or any(
            isinstance(layer.mixer, LatentAttention) for layer in spec.layers)  # these copy matrices
    most = max(held.count for held in found.sets.values() if held)
    assert bill(spec, 8192, dtype="int4").smallest.count <= most  # type: ignore[union-attr]


def test_a_set_that_nothing_holds_is_none() -> None:
    found = bill(spec_of("k-exaone-236b-a23b"), 262_144, batch=100_000)
    assert found.smallest is None


@pytest.mark.parametrize("entry", ALL)
def test_every_model_is_described(entry: Entry) -> None:
    spec = entry.release.spec
    assert attention_in_words(spec)
    assert attention_in_words(spec, "ko")
    assert differences(spec)
    assert sum(int(which.rsplit("(", 1)[1][:-1]) if "(" in which else 1 for which, _ in layer_kinds(spec)) == len(
        spec.layers)


def test_words_are_those_of_the_architecture() -> None:
    assert attention_in_words(spec_of("k-exaone")) == "GQA 64/8, 3 of 4 layers window 128, global without positions"
    assert attention_in_words(spec_of("a.x-k1-519b-a33b")) == "MLA 64 heads, kv 512+64, all global"
    assert differences(spec_of("midm-2-base-11.5b")) == ["none: it is one"]
    assert runs([0, 1, 2, 4, 5, 8, 10, 12]) == "0-2, 4-5, ..., 12"


@pytest.mark.parametrize(("name", "words"), [
    ("vaetki", "; dimensions are paired 2i with 2i + 1; in global layers positions are divided by 8."),
    ("exaone-4.0-32b", "; in window layers slow waves are stretched 16 times, for texts beyond 8,192 tokens; a layer "),
    ("exaone-3.5-32b", "; slow waves are stretched 8 times, for texts beyond 8,192 tokens."),
    ("gpt-oss-20b", "; first trained at 4,096, stretched 32 times by interpolating slow waves."),
])
def test_positions_say_which_layers_are_scaled(name: str, words: str) -> None:
    assert words in dict(explain(spec_of(name)))["Positions"]


def test_positions_of_some_layers_are_told_by_their_share() -> None:
    spec = spec_of("exaone-3.5-2.4b")
    mixer = replace(spec.layers[0].mixer, rope=Rope(1e4, scaling=Linear(2)))
    layers = tuple(replace(layer, mixer=mixer) if i % 3 == 2 else layer for i, layer in enumerate(spec.layers))
    text = dict(explain(replace(spec, layers=layers)))["Positions"]
    assert "in 1 of 3 layers positions are divided by 2" in text
    assert "in 2 of 3 layers slow waves" in text


@pytest.mark.parametrize("columns", [80, 120, 400, None])
def test_a_listing_keeps_every_name_and_the_width(columns: int | None) -> None:
    lines = listing(entries(), columns)
    assert all(any(entry.release.spec.name in line.split() for line in lines) for entry in entries())
    if columns:
        assert max(map(len, lines)) <= columns
    else:
        assert len(lines) == 1 + len(entries()) + 2
    for entry in entries():
        line = next(line for line in lines if entry.release.spec.name in line.split())
        assert ("†" in line) is bool(entry.release.spec.unverified)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_drawings_are_xml_and_pages_need_no_network(lang: str) -> None:
    for drawing in figures(entries(), lang).values():  # type: ignore[arg-type]
        ElementTree.fromstring(drawing)
    html = page(entries(), lang)  # type: ignore[arg-type]
    assert all(entry.release.spec.name in html for entry in entries())
    assert "src=" not in html
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_docs_hold_the_generated_tables() -> None:
    from dokja.models.report.tables import models_markdown, saving_markdown

    docs = Path(__file__).parents[2] / "docs"
    for lang, name in (("en", "models.md"), ("ko", "models.ko.md")):
        text = (docs / name).read_text(encoding="utf-8")
        for table in (models_markdown(entries(), lang), saving_markdown(entries(), lang)):  # type: ignore[arg-type]
            assert "\n".join(table) in text, f"{name} is old: run `make docs-models`"
