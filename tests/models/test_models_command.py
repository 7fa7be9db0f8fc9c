"""`dokja models` on the command line: text and JSON, bad input, pipes, narrow terminals."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from dokja.cli import main
from dokja.models.families import release


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


@pytest.mark.timed
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
    for item in release("k-exaone")[1].spec.unverified:
        assert " ".join(item.split()) in text


@pytest.mark.parametrize("words", [["cost", "nothing"], ["cost", "k-exaone", "--context", "0"],
                                   ["cost", "k-exaone", "--dtype", "int3"], ["show", "k-exaone", "--size", "1"],
                                   ["saving", "--against", "k-exaone"], ["cost", "k-exaone", "--cache-dtype", "int4"],
                                   ["compare", "k-exaone", "--html", "/nowhere/at/all.html"],
                                   ["table", "--lang", "fr"], ["show", ""], ["saving", "kogpt", "--against", ""],
                                   ["cost", "k-exaone", "--context", "-1"], ["cost", "k-exaone", "--batch", "0"],
                                   ["cost", "k-exaone", "--context", "1" + "0" * 400],
                                   ["show", "k-exaone", "--size", "nan"], ["figures", "/dev/null"],
                                   ["show", "k-exaone", "--size", "3e6", "--context", "1" + "0" * 400]])
def test_bad_input_is_one_sentence_and_exit_code_2(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("dokja: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["list", "table", "figures"])
def test_a_reader_that_leaves_early_is_no_error(verb: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run([sys.executable, "-m", "dokja", "models", verb, *([str(tmp_path)] * (verb == "figures"))],
                              stdout=closed, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert done.stderr == ""
    assert verb != "figures" or len(list(tmp_path.iterdir())) == 2


def test_a_terminal_without_hangul_gets_escapes() -> None:
    done = subprocess.run([sys.executable, "-m", "dokja", "models", "table", "--lang", "ko"], capture_output=True,
                          check=False, timeout=120, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.stdout.decode("ascii").startswith(r"| \ubaa8\ub378 |")


@pytest.mark.parametrize("words", [["list"], ["show", "vaetki-20b-a2b"], ["cost", "a.x-k1-519b-a33b"], ["saving"],
                                   ["saving", "vaetki"], ["compare", "k-exaone", "vaetki", "kogpt"]])
def test_a_narrow_terminal_gets_narrow_lines(words: list[str]) -> None:
    """Names and the three lines of a bill's KV cache are kept whole."""
    wide = [line for line in run(*words, COLUMNS="44").stdout.splitlines() if len(line.rstrip()) > 44]
    assert len(wide) <= (3 if words[0] == "cost" else 0), wide


def test_a_name_may_be_in_capitals() -> None:
    assert run("show", "K-EXAONE-236B-A23B").stdout == run("show", "k-exaone").stdout


@pytest.mark.parametrize("words", [["saving", "vaetki-20b-a2b"], ["cost", "vaetki-20b-a2b"],
                                   ["compare", "vaetki-20b-a2b", "kogpt"]])
def test_savings_beyond_the_models_own_context_are_marked(words: list[str]) -> None:
    text = run(*words).stdout
    assert "%*" in text
    assert "* beyond the model's own context" in text
    assert "*" not in run(words[0], "k-exaone").stdout


def test_a_context_beyond_the_models_own_is_warned_of() -> None:
    done = run("cost", "kogpt-6b", "--context", "4096")
    assert done.returncode == 0
    assert "made for 2,048 tokens" in done.stderr


@pytest.mark.parametrize("verb", ["list", "show", "cost", "saving", "compare", "table", "figures"])
def test_every_help_shows_an_example(verb: str) -> None:
    assert f"Example: dokja models {verb}" in " ".join(run(verb, "--help").stdout.split())
