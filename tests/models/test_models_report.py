"""`dokja models`: inventories add up, savings and bills follow from first principles, commands answer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from dokja.cli import main
from dokja.models.cost import forward_flops_per_token, parameters
from dokja.models.decoder import Decoder
from dokja.models.families import release
from dokja.models.report.bill import bill
from dokja.models.report.describe import attention_in_words, runs
from dokja.models.report.explain import differences, layer_kinds
from dokja.models.report.facts import Entry, entries
from dokja.models.report.figures import figures
from dokja.models.report.hardware import GPUS, HEADROOM, PRECISIONS, weight_bytes
from dokja.models.report.inventory import inventory
from dokja.models.report.page import page
from dokja.models.report.saving import reached_at, saving
from dokja.models.report.tables import listing
from dokja.models.scaling import scaled
from dokja.models.spec import LatentAttention, ModelSpec

ALL = [pytest.param(entry, id=entry.release.spec.name) for entry in entries()]
PUBLISHED = {  # parameter totals as published, to the unit
    "a.x-k1-519b-a33b": 518_983_059_456, "hyperclova-x-seed-think-14b": 14_748_112_896,
    "vaetki-112b-a10b": 112_191_900_672, "solar-open-102b-a12b": 102_651_799_552,
    "exaone-4.0-32b": 32_003_216_384, "exaone-4.0-1.2b": 1_279_391_488, "kogpt-6b": 6_166_502_400,
}


def spec_of(name: str) -> ModelSpec:
    return release(name)[1].spec


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`dokja models` in this process: what it prints and how it exits."""
    out, errors, code = io.StringIO(), io.StringIO(), 0
    with (patch.object(sys, "argv", ["dokja", "models", *words]), patch.dict(os.environ, environment),
          redirect_stdout(out), redirect_stderr(errors)):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())


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


@pytest.mark.parametrize("columns", [80, 120, 400, None])
def test_a_listing_keeps_every_name_and_the_width(columns: int | None) -> None:
    lines = listing(entries(), columns)
    assert all(any(entry.release.spec.name in line.split() for line in lines) for entry in entries())
    if columns:
        assert max(map(len, lines)) <= columns
    else:
        assert len(lines) == 1 + len(entries())


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_drawings_are_xml_and_pages_need_no_network(lang: str) -> None:
    for drawing in figures(entries(), lang).values():  # type: ignore[arg-type]
        ElementTree.fromstring(drawing)
    html = page(entries(), lang)  # type: ignore[arg-type]
    assert all(entry.release.spec.name in html for entry in entries())
    assert "src=" not in html
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_cost_of_a_519b_model_answers_at_once_and_without_torch() -> None:
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "dokja", "models", "cost", "a.x-k1-519b-a33b", "--context", "131072"],
                          capture_output=True, text=True, check=False, timeout=120)
    assert time.monotonic() - start < 5  # 0.5 s on an idle core; with torch it would be several
    assert "518,983,059,456" in done.stdout
    code = ("import sys\nfrom dokja.cli import app\ntry:\n    app(['models', 'cost', 'a.x-k1-519b-a33b', '--context', "
            "'131072', '--json'])\nexcept SystemExit:\n    pass\nassert not {'torch', 'numpy'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parameters"] == 518_983_059_456


@pytest.mark.parametrize("words", [["list"], ["show", "k-exaone"], ["cost", "k-exaone"], ["saving"],
                                   ["compare", "k-exaone", "kogpt"]])
def test_every_verb_has_json_and_text(words: list[str]) -> None:
    assert json.loads(run(*words, "--json").stdout)
    assert "k-exaone-236b-a23b" in run(*words, COLUMNS="80").stdout


def test_show_prints_what_is_not_confirmed() -> None:
    text = " ".join(run("show", "k-exaone").stdout.split())
    for item in spec_of("k-exaone").unverified:
        assert " ".join(item.split()) in text


@pytest.mark.parametrize("words", [["cost", "nothing"], ["cost", "k-exaone", "--context", "0"],
                                   ["cost", "k-exaone", "--dtype", "int3"], ["show", "k-exaone", "--size", "1"],
                                   ["saving", "--against", "k-exaone"], ["cost", "k-exaone", "--cache-dtype", "int4"],
                                   ["compare", "k-exaone", "--html", "/nowhere/at/all.html"],
                                   ["table", "--lang", "fr"]])
def test_bad_input_is_one_sentence_and_exit_code_2(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("dokja: ")
    assert done.stderr.count("\n") == 1


def test_a_context_beyond_the_models_own_is_warned_of() -> None:
    done = run("cost", "kogpt-6b", "--context", "4096")
    assert done.returncode == 0
    assert "made for 2,048 tokens" in done.stderr


def test_docs_hold_the_generated_tables() -> None:
    from dokja.models.report.tables import models_markdown, saving_markdown

    docs = Path(__file__).parents[2] / "docs"
    for lang, name in (("en", "models.md"), ("ko", "models.ko.md")):
        text = (docs / name).read_text(encoding="utf-8")
        for table in (models_markdown(entries(), lang), saving_markdown(entries(), lang)):  # type: ignore[arg-type]
            assert "\n".join(table) in text, f"{name} is old: run `make docs-models`"


@pytest.mark.parametrize("verb", ["list", "show", "cost", "saving", "compare", "table", "figures"])
def test_every_help_shows_an_example(verb: str) -> None:
    assert f"Example: dokja models {verb}" in " ".join(run(verb, "--help").stdout.split())
