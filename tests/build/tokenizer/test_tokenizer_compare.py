"""Samples are what was asked for, comparisons count what is there, and the commands print it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from typer.testing import CliRunner

from dokja.build.document import Document
from dokja.build.korean import documents
from dokja.build.tokenizer.command import app
from dokja.build.tokenizer.compare import (
    PUBLISHED,
    aligned,
    contestant,
    fewer,
    first_bytes,
    measure,
    named_texts,
    table,
)
from dokja.build.tokenizer.report import kind
from dokja.build.tokenizer.sources import REPEATS, Source, draw, sources_of
from dokja.errors import DokjaError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "corpus"


def of(name: str, texts: list[str]) -> Source:
    return Source(name, [Document(name, text) for text in texts])


def test_shares_are_kept_within_a_document_and_the_rest_goes_by_size() -> None:
    sources = [of("a", [f"{i:0>9} " for i in range(2000)]), of("b", [f"{i:0>9}b" for i in range(1000)]),
               of("c", [f"{i:0>9}c" for i in range(3000)])]
    drawn = {source.name: source for source in draw(sources, 10_000, {"a": 0.5}).sources}
    assert drawn["a"].drawn == pytest.approx(5000, rel=0.1)
    assert drawn["b"].drawn == pytest.approx(1250, rel=0.2)
    assert drawn["c"].drawn == pytest.approx(3750, rel=0.15)
    assert sum(source.share for source in drawn.values()) == pytest.approx(1)
    assert drawn["b"].size == 10_000


def test_a_small_source_is_repeated_up_to_a_limit_and_the_same_documents_are_drawn_every_time() -> None:
    sources = [of("small", ["가나다 라마"] * 5), of("large", [f"{i} 문장" for i in range(5000)])]
    sample = draw(sources, 20_000, {"small": 0.9})
    assert sample.sources[0].drawn == REPEATS * sample.sources[0].size
    assert list(sample).count("가나다 라마") == 5 * REPEATS
    assert sample == draw(sources, 20_000, {"small": 0.9})
    one_more = draw([sources[0], of("large", [f"{i} 문장" for i in range(4999)])], 20_000, {"small": 0.9})
    assert len(set(sample) ^ set(one_more)) <= 5  # the other documents do not decide over one


def test_a_wrong_share_is_told() -> None:
    with pytest.raises(DokjaError, match="names no source of the text: b; the sources are a"):
        draw([of("a", ["글"])], 100, {"b": 0.1})
    with pytest.raises(DokjaError, match=r"add up to at most 1, not 1\.5"):
        draw([of("a", ["글"]), of("b", ["글"])], 100, {"a": 0.75, "b": 0.75})


def test_a_built_corpus_is_read_by_its_sources(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    for name in ("laws", "chat"):
        folder = tmp_path / "corpus" / "text" / name
        folder.mkdir(parents=True)
        rows = [{"text": f"{name} {i}"} if name == "laws" else
                {"messages": [{"role": "user", "content": "안녕"}, {"role": "assistant", "content": f"{i}"}]}
                for i in range(3)]
        packed = zstandard.ZstdCompressor().compress("".join(f"{json.dumps(row)}\n" for row in rows).encode())
        (folder / "00000.jsonl.zst").write_bytes(packed)
    (tmp_path / "laws.txt").write_text("법", encoding="utf-8")
    sources = sources_of([tmp_path / "corpus", tmp_path / "laws.txt"])
    assert [source.name for source in sources] == ["chat", "laws", "laws-2"]
    assert [one.content for one in sources[0].documents] == ["안녕\n0", "안녕\n1", "안녕\n2"]


def bytes_only(path: Path) -> Path:
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())},
                                     merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))
    return path


def lossy(path: Path) -> Path:
    tokenizer = Tokenizer(models.WordLevel({"가": 0, "[?]": 1}, unk_token="[?]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
    return path


def test_counts_are_of_what_is_there(tmp_path: Path) -> None:
    made = [bytes_only(tmp_path / "bytes.json"), lossy(tmp_path / "lossy.json")]
    rows = measure([contestant(str(path)) for path in made], {"text": ["가a", "가 나"]})
    one, two = rows
    assert (one.tokens, two.tokens) == (11, 3)
    assert one.per_character == pytest.approx(11 / 5)
    assert one.per_byte == one.bytes_per_token == 1
    assert one.lone == pytest.approx(9 / 11)
    assert (one.lossless, two.lossless) == (True, False)
    assert one.speed > 0
    assert fewer(rows, one.tokenizer)[two.tokenizer, "text"] == pytest.approx(1 - 3 / 11)
    lines = aligned(table(rows, one.tokenizer))
    assert len({len(line) for line in lines}) == 1
    assert "-73%" in lines[2]


def test_a_marker_in_a_text_is_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bytes_only(tmp_path / "tokenizer.json")))
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert len(contestant(str(tmp_path)).encode("<|end|>")) == 7


def test_published_tokenizers_give_the_figures_known_for_them() -> None:
    """Token ids of o200k_base and cl100k_base that OpenAI's cookbook prints for this sentence."""
    pytest.importorskip("quicktok")
    text = "お誕生日おめでとう"
    assert list(contestant("o200k_base").encode(text)) == [8930, 9697, 243, 128225, 8930, 17693, 4344, 48669]
    assert len(contestant("cl100k_base").encode(text)) == 9
    for name in PUBLISHED:
        one = contestant(name)
        assert one.decode(one.encode(text + " 한국어 <|endoftext|>")) == text + " 한국어 <|endoftext|>"


def test_names_of_texts_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl.xz").touch()
    assert named_texts([str(tmp_path / "a.jsonl.xz"), "law=b.txt"]) == {"a": tmp_path / "a.jsonl.xz",
                                                                       "law": Path("b.txt")}
    with pytest.raises(DokjaError, match="two texts are called a"):
        named_texts([str(tmp_path / "a.jsonl.xz"), "a=b.txt"])
    with pytest.raises(DokjaError, match=r"neither a tokenizer\.json"):
        contestant(str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "quicktok", None)
    with pytest.raises(DokjaError, match=r"pip install dokja\[bench\]"):
        contestant("o200k_base")
    assert list(first_bytes(["가", "나", "다"], 4)) == ["가", "나"]


@pytest.mark.parametrize(("token", "what"), [
    (" 학교", "hangul"), ("ㅋㅋ", "hangul"), (" the", "latin"), ("法", "han"), ("123", "digits"), ("다.\n", "mixed"),
    (" 할 수", "superword"), ("\n\n", "symbols"), ("①", "symbols"), ("Привет", "other letters"), ("React는", "mixed")])
def test_tokens_are_told_by_what_they_hold(token: str, what: str) -> None:
    assert kind(token.encode()) == what
    assert kind("가".encode()[:2]) == "part of a character"


def test_the_commands_train_and_compare(tmp_path: Path) -> None:
    text = tmp_path / "korean.jsonl"
    text.write_text("".join(json.dumps({"text": document.content}, ensure_ascii=False) + "\n"
                            for document in documents(2, 0, 200)), encoding="utf-8")
    out = tmp_path / "made"
    run = CliRunner()
    told = run.invoke(app, ["--text", str(text), "--vocab", "1500", "--out", str(out), "--family", "ax-k1"])
    assert told.exit_code == 0, told.output
    assert "korean: 0.1 of 0.1 MB, 100.0%" in told.output
    assert f"{out}: 1,500 tokens" in told.output
    assert json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"] == "<|endoftext|>"
    bytes_only(tmp_path / "bytes.json")
    arguments = ["compare", str(out), str(tmp_path / "bytes.json"), "--text", f"ko={text}"]
    told = run.invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert told.output.split()[:3] == ["tokenizer", "vocab", "ko"]
    rows = json.loads(run.invoke(app, [*arguments, "--json", "--against", str(tmp_path / "bytes.json")]).output)
    assert [row["lossless"] for row in rows] == [True, True]
    assert rows[0]["fewer"] > 0.6
    assert rows[1]["fewer"] == 0


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "there is nothing to learn from"), (["--text", "nowhere.txt"], "nowhere.txt does not exist"),
    (["--text", __file__.replace(".py", ".txt"), "--digits", "four"], "--digits is single or triples"),
    (["compare", "o200k_base"], "there is nothing to compare on"),
    (["compare", "a.json", "--against", "b.json", "--text", "t.txt"], "--against b.json is none of")])
def test_what_was_asked_wrongly_is_told_in_a_sentence(arguments: list[str], said: str) -> None:
    told = CliRunner().invoke(app, arguments)
    assert isinstance(told.exception, DokjaError)
    assert said in str(told.exception)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared corpus is not here")
def test_on_real_chat_a_small_tokenizer_of_its_kind_beats_o200k_base() -> None:
    """8,000 tokens learnt from nine tenths of short Korean chat need a fifth fewer on the rest than 200,000 of all."""
    pytest.importorskip("quicktok")
    from dokja.build.read import Texts
    from dokja.build.tokenizer.compare import Contestant
    from dokja.build.tokenizer.curriculum import Plan, train

    texts = [one.content for one in Texts([SHARED / "songys-chatbot-qa.jsonl.xz"])]
    made = train(draw([of("chat", [text for i, text in enumerate(texts) if i % 10])], 10**7), Plan(8000)).tokenizer
    ours = Contestant("ours", 8000, lambda text: made.encode(text).ids, lambda ids: made.decode(list(ids)), frozenset())
    rows = measure([ours, contestant("o200k_base")], {"chat": texts[::10]})
    assert rows[0].lossless
    assert fewer(rows, "o200k_base")["ours", "chat"] > 0.2
