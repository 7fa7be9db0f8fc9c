"""Recipes of a corpus: what is missing, unknown or does not fit is named; settings change single values."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dokja.build.corpus.pipeline import build
from dokja.build.corpus.recipe import read_recipe
from dokja.errors import DokjaError

RECIPE = """
name: 시험
sources:
  - {name: law, paths: [law], licence: CC0-1.0, origin: law.example, weight: {main: 3, late: 1}}
  - {name: web, paths: [web, more], licence: CC-BY-4.0, origin: web.example, weight: 1}
stages: [{name: main, tokens: 1e9}, {name: late}]
quality: {least_letters: 10}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    at = tmp_path / "recipe.yaml"
    at.write_text(RECIPE, encoding="utf-8")
    return at


def test_settings_change_values_and_turn_steps_on_and_off(path: Path) -> None:
    recipe = read_recipe(path, ["heldout=1e-2", "sources.web.text=body.parts", "sources.0.skip=[near]", "near=null",
                                "quality.most_url=0.5", "decontaminate.benchmarks=[b]"])
    assert recipe.heldout == 0.01
    assert recipe.sources[1].text == "body.parts"
    assert recipe.sources[0].skip == ("near",)
    assert recipe.near is None
    assert (recipe.quality and recipe.quality.least_letters, recipe.quality and recipe.quality.most_url) == (10, 0.5)
    assert recipe.decontaminate is not None
    assert recipe.stages[0].tokens == 1e9


@pytest.mark.parametrize(("setting", "told"), [
    ("colour=red", "colour is not a key"),
    ("sources.law.colour=red", "sources.0.colour is not a key"),
    ("quality.colour=1", "quality.colour is not a key"),
    ("heldout=many", "heldout = 'many' does not fit"),
    ("heldout=1.5", "heldout = 1.5 is not a share"),
    ("sources.law.licence=", "sources.law.licence is missing: text without a declared licence"),
    ("sources.web.origin='  '", "sources.web.origin is missing"),
    ("sources.law.paths=[]", "sources.law needs either paths or dataset"),
    ("sources.law.dataset.name=x", "sources.law needs either paths or dataset"),
    ("sources.law.name=../law", "the name becomes a folder"),
    ("sources.law.name=web", "sources has 'web' twice"),
    ("sources.law.weight={middle: 1}", "names 'middle', which is no stage; stages are main, late"),
    ("sources.law.weight=-1", "weight is below 0"),
    ("sources.law.weight=null", "sources.law.weight is missing"),
    ("sources.law.skip=[colour]", "sources.0.skip.0 = 'colour' does not fit"),
    ("stages.main.tokens=null", "only the last stage"),
    ("sources.none.weight=1", "there is no 'none'"),
    ("name.x=1", "name is a value"),
    ("heldout", "sets nothing"),
    ("sources=[", "is not YAML"),
    ("sources=3", "sources = 3 does not fit (input should be a valid list)"),
])
def test_what_does_not_fit_is_named(path: Path, setting: str, told: str) -> None:
    with pytest.raises(DokjaError) as raised:
        read_recipe(path, [setting])
    assert told in str(raised.value)


def test_a_recipe_that_is_none(tmp_path: Path) -> None:
    for text in ("- 1", "", "{"):
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(DokjaError, match=r"r\.yaml"):
            read_recipe(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_bytes(b"\0")
    with pytest.raises(DokjaError, match=r"r\.yaml is not YAML") as raised:
        read_recipe(tmp_path / "r.yaml")
    assert "\n" not in str(raised.value)
    with pytest.raises(DokjaError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "r.yaml").write_text("name: x", encoding="utf-8")
    with pytest.raises(DokjaError, match="sources is missing"):
        read_recipe(tmp_path / "r.yaml")


def test_weights_become_shares_of_each_stage(path: Path) -> None:
    main, late = read_recipe(path).mixture({"law": 100, "web": 300})
    assert main == {"name": "main", "tokens": 10**9, "weights": {"law": 0.75, "web": 0.25}}
    assert late == {"name": "late", "tokens": None, "weights": {"law": 0.5, "web": 0.5}}


def test_without_weights_sources_are_drawn_by_size_and_empty_ones_never(path: Path) -> None:
    recipe = read_recipe(path, ["sources.law.weight=null", "sources.web.weight=null"])
    assert recipe.mixture({"law": 100, "web": 300})[0]["weights"] == {"law": 0.25, "web": 0.75}
    assert read_recipe(path).mixture({"law": 0, "web": 300})[0]["weights"] == {"law": 0.0, "web": 1.0}
    with pytest.raises(DokjaError, match="no text to draw from"):
        read_recipe(path, ["sources.web.weight={main: 1}"]).mixture({"law": 0, "web": 300})


def test_the_digest_tells_recipes_apart_and_not_where_files_lie(path: Path) -> None:
    digest = read_recipe(path).digest()
    assert read_recipe(path, ["sources.web.paths=[more, web]", "tokenizer=t.json"]).digest() == digest
    assert read_recipe(path, ["seed=2"]).digest() != digest
    assert read_recipe(path, ["quality.least_letters=11"]).digest() != digest


def test_the_example_works_on_a_folder_of_the_reader(tmp_path: Path) -> None:
    from test_pipeline import prose

    (tmp_path / "texts").mkdir()
    for number in range(30):
        (tmp_path / "texts" / f"{number}.txt").write_text(prose(random.Random(number)), encoding="utf-8")
    example = Path(__file__).parents[3] / "docs" / "corpus-example.yaml"
    recipe = read_recipe(example, [f"sources.mine.paths=[{tmp_path / 'texts'}]"])
    made = build(recipe, tmp_path / "out")
    assert made.manifest["sources"]["mine"]["in"]["documents"] == 30
    assert [stage["tokens"] for stage in made.stages] == [10**9, None]
