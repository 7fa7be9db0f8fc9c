"""The house keeps its order: imports run one way, and the core needs no extra."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dokja

SOURCE = Path(dokja.__file__).parent
ROOMS = ("build", "prove", "judge", "serve")
# What each may import, besides itself, `errors` and the version in dokja/__init__.
ALLOWED = {
    "errors": set(), "__init__": {"models"},  # load and save, when they are first used
    "models": set(), **{room: {"models"} for room in ROOMS},
    "judge": {"models", "serve"},  # judging an endpoint: the client of the engine
    "season": {"models", *ROOMS},
    "cli": {"models", "season", *ROOMS},
    "__main__": {"cli"},
}
EXTRAS = {"fastapi", "uvicorn", "nicegui", "httpx", "sqlalchemy", "psutil", "pyarrow", "zstandard", "transformers",
          "pandas", "openai", "playwright", "gguf", "huggingface_hub", "kiwipiepy", "quicktok", "pydantic", "yaml",
          "torchao", "tensorboard", "trackio", "wandb",
          "py3langid", "rensa", "resiliparse", "warcio", "hwpx", "datasets", "ray"}


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all that a file imports, wherever in it, as far as they are ours."""
    package = ("dokja", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(name: str) -> str | None:
    """Which part of the house a name belongs to."""
    parts = name.split(".")
    if parts[0] != "dokja":
        return None
    return parts[1] if len(parts) > 1 and not parts[1].startswith("__version") else "__init__"


FILES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))


def test_every_part_of_the_house_has_its_rule() -> None:
    assert {path.parts[0].removesuffix(".py") for path in FILES} <= set(ALLOWED)


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_run_one_way(part: str) -> None:
    """season -> build, prove, judge, serve -> models; rooms do not know each other; nobody imports the command line."""
    found = {(str(path), other) for path in FILES if path.parts[0].removesuffix(".py") == part
             for name in imports(SOURCE / path) if (other := room(name)) is not None}
    wrong = {(path, other) for path, other in found if other not in ALLOWED[part] | {part, "errors", "__init__"}}
    assert not wrong


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_spec_needs_nothing_but_python() -> None:
    loaded = loaded_by("import dokja.models.spec, dokja.models.cost, dokja.models.scaling, dokja.models.families")
    assert not loaded & {"torch", "numpy", "tokenizers", "safetensors", "typer", "rich", *EXTRAS}


def test_the_package_alone_needs_nothing_but_python() -> None:
    assert not loaded_by("import dokja") & {"torch", "numpy", "tokenizers", "safetensors", "typer", "rich", *EXTRAS}


def test_loading_needs_only_the_core() -> None:
    loaded = loaded_by("import dokja\ndokja.load, dokja.save, dokja.Model")
    assert "torch" in loaded
    assert not loaded & EXTRAS


def test_models_and_training_need_only_the_core() -> None:
    loaded = loaded_by("import dokja.models.decoder, dokja.models.generate, dokja.models.codec, dokja.models.folder\n"
                       "import dokja.build.train, dokja.build.packing, dokja.build.tokenizer, dokja.build.schedule")
    assert "torch" in loaded
    assert not loaded & EXTRAS


def test_the_command_line_starts_without_extras() -> None:
    """`dokja --help` must answer at once."""
    assert not loaded_by("import dokja.cli") & {"torch", *EXTRAS}
