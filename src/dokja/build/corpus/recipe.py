"""The recipe of a corpus: sources with their licence and origin, what is done to them, and how they are mixed.

A YAML file, checked key by key; every value can be set from the command line (`--set heldout=0.01`,
`--set sources.statutes.weight=2`). The resolved recipe is written with the corpus.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...errors import DokjaError
from ..settings import apply, read_yaml
from .dedup import DedupConfig
from .quality import QualityConfig

Step = Literal["clean", "language", "quality", "exact", "near", "redact", "decontaminate"]
_FORBID = {"extra": "forbid"}
_NAME = re.compile(r"[0-9A-Za-z가-힣][0-9A-Za-z가-힣._-]*")


@dataclass(frozen=True)
class DatasetRecipe:
    """A dataset of the Hugging Face hub, or a folder laid out like one; read as a stream."""

    __pydantic_config__ = _FORBID

    name: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None  # without one the manifest's input hash says which text it was


@dataclass(frozen=True)
class SourceRecipe:
    """Where text comes from, and under which terms.

    paths or dataset: files and folders, relative to where the command runs, or a dataset. licence, origin: an SPDX name
    or a sentence, and where it was got. text: the field that holds the text, dotted where it lies deeper; lists are
    walked. weight: its part of the mixture, one number or one for each stage. skip: steps that it does not go through.
    """

    __pydantic_config__ = _FORBID

    name: str
    licence: str
    origin: str
    paths: tuple[str, ...] = ()
    dataset: DatasetRecipe | None = None
    text: str = "text"
    weight: float | dict[str, float] | None = None
    skip: tuple[Step, ...] = ()


@dataclass(frozen=True)
class StageRecipe:
    """A part of the curriculum: `tokens` is its budget, None goes on without end."""

    __pydantic_config__ = _FORBID

    name: str
    tokens: float | None = None


@dataclass(frozen=True)
class LanguageRecipe:
    """Languages that are kept, and how sure the identification must be at least."""

    __pydantic_config__ = _FORBID

    keep: tuple[str, ...] = ("ko", "en", "code")
    least: float = 0.5


@dataclass(frozen=True)
class DecontaminateRecipe:
    """benchmarks: files, folders and archives. action: "cut" out what a document shares with one and 200 characters
    around it (Brown et al. 2020, appendix C), "drop" the document, or only "report" it. common: what more documents
    than this share is common language, a quotation or a clause of law, and only reported (the same appendix)."""

    __pydantic_config__ = _FORBID

    benchmarks: tuple[str, ...] = ()
    action: Literal["cut", "drop", "report"] = "cut"
    common: int = 10


@dataclass(frozen=True)
class SizesRecipe:
    """Bytes of compressed text in a shard, tokens in a shard, and bytes of text held in memory by a worker: of a run
    while reading, of a bucket after it. Every bucket is gathered from every run, so for more than a terabyte of text
    both want to be larger."""

    __pydantic_config__ = _FORBID

    shard_bytes: int = 256 << 20
    shard_tokens: int = 128 << 20
    run_bytes: int = 64 << 20
    bucket_bytes: int = 64 << 20


@dataclass(frozen=True)
class Recipe:
    """A corpus. Steps that are null are left out.

    heldout: share of the documents that is kept for evaluation. tokenizer: a tokenizer.json or a folder with one;
    without it there are no token shards. end_of_text: the token that follows every document. samples: how many
    documents of each source and reason the report shows.
    """

    __pydantic_config__ = _FORBID

    name: str
    sources: tuple[SourceRecipe, ...]
    seed: int = 1
    heldout: float = 0.005
    stages: tuple[StageRecipe, ...] = (StageRecipe("main"),)
    language: LanguageRecipe | None = field(default_factory=LanguageRecipe)
    quality: QualityConfig | None = field(default_factory=QualityConfig)
    exact: bool = True
    near: DedupConfig | None = field(default_factory=DedupConfig)
    redact: bool = True
    decontaminate: DecontaminateRecipe | None = None
    tokenizer: str | None = None
    end_of_text: str = "<|endoftext|>"
    samples: int = 5
    sizes: SizesRecipe = field(default_factory=SizesRecipe)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it is written with the corpus."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def digest(self) -> str:
        """A hash of all that decides, but for where things lie: paths may move and change their order, contents are
        counted by hashes of their own."""
        data = self.to_dict()
        for source in data["sources"]:
            del source["paths"]
        del data["tokenizer"]
        if data["decontaminate"]:
            del data["decontaminate"]["benchmarks"]
        return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def mixture(self, sizes: dict[str, int]) -> list[dict[str, Any]]:
        """The stages with their budgets and the shares of the sources, which sum to 1.

        sizes: tokens, or bytes, of each source; without any weight in the recipe sources are drawn by their size.
        """
        weighted = any(source.weight is not None for source in self.sources)
        stages = []
        for stage in self.stages:
            weights = {}
            for source in self.sources:
                given = source.weight.get(stage.name, 0.0) if isinstance(source.weight, dict) else source.weight
                # A source of which nothing was left cannot be drawn from.
                weights[source.name] = float(given if weighted and given is not None else sizes[source.name])
                weights[source.name] *= sizes[source.name] > 0
            total = sum(weights.values())
            if not total:
                raise DokjaError(f"the stage {stage.name} has no text to draw from: no source with a weight has any "
                                 "left")
            shares = {name: weight / total for name, weight in sorted(weights.items())}
            stages.append({"name": stage.name, "tokens": stage.tokens and int(stage.tokens), "weights": shares})
        return stages


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file with "key.of.it=value" settings; elements of lists go by number or by name.

    Raises DokjaError naming the file and the key for what is missing, unknown or does not fit.
    """
    try:
        data = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is not UTF-8"
        raise DokjaError(f"{path} cannot be read ({what}); give the YAML file of a recipe") from None
    if isinstance(data, dict):
        apply(data, settings, "heldout=0.01")
    return from_dict(data, str(path))


def from_dict(data: Any, where: str = "the recipe") -> Recipe:
    """The recipe of plain data, checked; raises DokjaError naming the key that does not fit."""
    try:
        from pydantic import TypeAdapter, ValidationError
    except ImportError:
        raise DokjaError("recipes are checked with pydantic: `pip install dokja[corpus]` brings it") from None
    if not isinstance(data, dict):
        raise DokjaError(f"{where} is no recipe: write keys and values, at least name and sources")
    sources = data.get("sources")
    for number, source in enumerate(sources if isinstance(sources, list) else ()):
        for key in ("licence", "origin"):
            if isinstance(source, dict) and not str(source.get(key) or "").strip():
                name = source.get("name", number)
                raise DokjaError(f"{where}: sources.{name}.{key} is missing: text without a declared {key} is not used")
    try:
        recipe = TypeAdapter(Recipe).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function", "dict[")))
        said = first["msg"].lower().replace("tuple", "list")
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            raise DokjaError(f"{where}: {key} is not a key of a recipe; take it out or mend its name") from None
        if first["type"].startswith("missing"):
            raise DokjaError(f"{where}: {key} is missing; add it") from None
        raise DokjaError(f"{where}: {key} = {first['input']!r} does not fit ({said})") from None
    _check(recipe, where)
    return recipe


def _check(recipe: Recipe, where: str) -> None:
    names = [source.name for source in recipe.sources]
    stages = [stage.name for stage in recipe.stages]
    for kind, given in (("sources", names), ("stages", stages)):
        if not given:
            raise DokjaError(f"{where}: {kind} is empty; give at least one")
        if twice := next((name for name in given if given.count(name) > 1), None):
            raise DokjaError(f"{where}: {kind} has {twice!r} twice; give each its own name")
    if not 0 <= recipe.heldout < 1:
        raise DokjaError(f"{where}: heldout = {recipe.heldout} is not a share; take one from 0 to below 1, as 0.005")
    if min(dataclasses.astuple(recipe.sizes)) < 1 << 10:
        raise DokjaError(f"{where}: sizes are too small: give at least 1,024 each")
    if any(stage.tokens is None for stage in recipe.stages[:-1]):
        raise DokjaError(f"{where}: only the last stage may go on without end; give the others tokens")
    weightless = [source.name for source in recipe.sources if source.weight is None]
    if weightless and len(weightless) < len(names):
        raise DokjaError(f"{where}: sources.{weightless[0]}.weight is missing; give every source one, or none")
    for source in recipe.sources:
        at = f"{where}: sources.{source.name}"
        if _NAME.fullmatch(source.name) is None:
            raise DokjaError(f"{at}: the name becomes a folder; use letters, digits, '.', '_' and '-'")
        if bool(source.paths) == bool(source.dataset):
            raise DokjaError(f"{at} needs either paths or dataset")
        weights = source.weight if isinstance(source.weight, dict) else {"": source.weight or 0.0}
        if min(weights.values(), default=0) < 0:
            raise DokjaError(f"{at}.weight is below 0; give 0 to leave a source out of a stage")
        if unknown := sorted(weights.keys() - {*stages, ""}):
            raise DokjaError(f"{at}.weight names {unknown[0]!r}, which is no stage; stages are {', '.join(stages)}")
