"""Sources of a corpus: every kind of file, what is skipped and why, and what stops a run."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hwpx import HwpxDocument

from dokja.build.corpus.recipe import DatasetRecipe, SourceRecipe
from dokja.build.corpus.sources import files, pieces, texts
from dokja.errors import DokjaError

SOURCE = SourceRecipe("글", "CC0-1.0", "시험")
ROWS = [{"text": f"{number}번째 문서입니다."} for number in range(1000)]
PAGE = "<html><body><nav><a href='/'>로그인</a> <a href='/'>회원가입</a></nav><main><h1>독자 모델</h1>" + "".join(
    f"<p>{number}번째 문단입니다. 이 글은 한국어 본문이고 문장이 둘 있습니다.</p>" for number in range(8)
) + "</main><footer>저작권 표시</footer></body></html>"


def read(source: SourceRecipe, workers: int = 1) -> list[tuple[str | None, str]]:
    return [found for piece in pieces(source, workers) for found in texts(piece, source)]


def of(path: Path, **more: Any) -> list[tuple[str | None, str]]:
    return read(replace(SOURCE, paths=(str(path),), **more))


def jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def warc(*records: tuple[str, bytes, bytes]) -> bytes:
    """Records of (type, HTTP header, body)."""
    made = b""
    for kind, header, body in records:
        content = header + body
        header_lines = (
            "WARC/1.0", f"WARC-Type: {kind}", "WARC-Target-URI: http://a.example/", "WARC-Date: 2026-01-01T00:00:00Z",
            "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>",
            f"Content-Type: application/http; msgtype={kind}", f"Content-Length: {len(content)}", "", "")
        made += "\r\n".join(header_lines).encode() + content + b"\r\n\r\n"
    return made


def answer(kind: str = "text/html", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n".encode()


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("첫 줄\r\n\n둘째 줄\n", encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("압축된 글".encode()))
    (tmp_path / "c.txt").write_text(" \n", encoding="utf-8")
    (tmp_path / "note.md").write_text("# 읽지 않는다", encoding="utf-8")
    assert of(tmp_path) == [("첫 줄\n\n둘째 줄", ""), ("압축된 글", ""), (None, "empty text")]


def test_rows_are_read_whatever_the_compression(tmp_path: Path) -> None:
    rows = jsonl(ROWS)
    for name, data in (("a.jsonl", rows), ("a.jsonl.gz", gzip.compress(rows)), ("a.jsonl.xz", lzma.compress(rows)),
                       ("a.jsonl.zst", zstandard.compress(rows)), ("a.json", json.dumps(ROWS).encode()),
                       ("a.json.gz", gzip.compress(json.dumps(ROWS).encode()))):
        (tmp_path / name).write_bytes(data)
        assert of(tmp_path / name) == [(row["text"], "") for row in ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=100)
    assert of(tmp_path / "a.parquet") == [(row["text"], "") for row in ROWS]


def test_the_field_with_the_text_may_lie_deeper(tmp_path: Path) -> None:
    row = {"data": {"paragraphs": [{"body": "첫째"}, {"body": "둘째"}, {"title": "제목"}]}}
    (tmp_path / "a.json").write_text(json.dumps(row), encoding="utf-8")
    assert of(tmp_path / "a.json", text="data.paragraphs.body") == [("첫째\n둘째", "")]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "a.parquet")
    assert of(tmp_path / "a.parquet", text="data.paragraphs.body") == [("첫째\n둘째", "")]


def test_a_conversation_is_its_turns_on_lines(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "안녕하세요."}]
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"messages": turns}, {"messages": turns[1:]}]))
    assert of(tmp_path / "a.jsonl") == [("안녕?\n안녕하세요.", ""),
                                        (None, "turns do not alternate between user and assistant")]


def test_rows_without_text_are_told_by_their_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([[1], {"body": "x"}, {"text": 3}, {"text": " "}, {"text": "글"}]))
    reasons = ("row is not an object", "no text", "text is not a string", "empty text")
    assert of(tmp_path / "a.jsonl") == [*((None, reason) for reason in reasons), ("글", "")]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_workers_that_share_a_file_read_every_row_once(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
                                                       ) -> None:
    monkeypatch.setattr("dokja.build.corpus.sources._PIECE", 1000)
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_bytes(jsonl(ROWS))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=64)
    source = replace(SOURCE, paths=(str(path),))
    assert len(pieces(source, 5)) == 5
    shared = [[text for text, _ in texts(piece, source)] for piece in pieces(source, 5)]
    assert min(map(len, shared)) > 100
    assert sorted(text or "" for part in shared for text in part) == sorted(row["text"] for row in ROWS)


def test_pages_of_an_archive_are_their_main_content(tmp_path: Path) -> None:
    records = warc(("request", b"GET / HTTP/1.1\r\n\r\n", b""),
                   ("response", answer("text/html; charset=utf-8"), PAGE.encode()),
                   ("response", answer("text/html; charset=euc-kr"), PAGE.encode("euc-kr")),
                   ("response", answer(), PAGE.encode("cp949")),  # nobody says which encoding it is
                   ("response", answer("image/png"), b"\x89PNG"),
                   ("response", answer(status="404 Not Found"), PAGE.encode()))
    for name, data in (("a.warc", records), ("a.warc.gz", gzip.compress(records))):
        (tmp_path / name).write_bytes(data)
        first, second, third, *others = of(tmp_path / name)
        assert first == second == third
        assert first[0] is not None
        assert first[0].startswith("독자 모델")
        assert first[0].count("번째 문단입니다") == 8
        assert "회원가입" not in first[0]
        assert others == [(None, "not HTML"), (None, "not the page (HTTP status)")]


def test_an_archive_that_is_cut_off_or_none_is_told(tmp_path: Path) -> None:
    whole = warc(("response", answer(), PAGE.encode()))
    for name, data, told in (("a.warc.gz", gzip.compress(whole * 3)[:-20], "ends in the middle"),
                             ("b.warc", whole[:-400], "ends in the middle of a page"),
                             ("c.warc", b"nothing\n" * 9, "is no WARC file"), ("d.warc", b"", "holds no WARC records")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DokjaError, match=told):
            of(tmp_path / name)


def test_an_hwpx_document_gives_its_paragraphs_and_tables_in_order(tmp_path: Path) -> None:
    document = HwpxDocument.new()
    document.add_paragraph("제1장 총칙")
    table = document.add_table(2, 2)
    for row, cells in enumerate((("이름", "값"), ("갑", "을"))):
        for column, cell in enumerate(cells):
            table.set_cell_text(row, column, cell)
    document.add_paragraph("이 법은 독자를 위한 것이다.")
    document.save_to_path(str(tmp_path / "a.hwpx"))
    (text, _), = of(tmp_path / "a.hwpx")
    assert text is not None
    assert text.strip() == "제1장 총칙\n이름\t값\n갑\t을\n이 법은 독자를 위한 것이다."
    whole = (tmp_path / "a.hwpx").read_bytes()
    for data in (b"not a zip", whole[: len(whole) // 2]):
        (tmp_path / "a.hwpx").write_bytes(data)
        with pytest.raises(DokjaError, match="no HWPX document that can be read"):
            of(tmp_path / "a.hwpx")


def test_a_dataset_is_read_through_its_library(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000.jsonl").write_bytes(jsonl(ROWS))
    found = read(replace(SOURCE, dataset=DatasetRecipe(str(tmp_path / "data"))))
    assert found == [(row["text"], "") for row in ROWS]


def test_a_dataset_that_cannot_be_had_is_told_in_one_sentence() -> None:
    code = ("from dokja.build.corpus.sources import _dataset; from dokja.build.corpus.recipe import DatasetRecipe\n"
            "from dokja.errors import DokjaError\n"
            "try: list(_dataset(DatasetRecipe('nobody/nothing')))\n"
            "except DokjaError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PATH": "", "HOME": "/nonexistent"})
    assert done.stdout.startswith("the dataset nobody/nothing cannot be read (")
    assert done.stdout.count("\n") == 1


def test_paths_that_hold_nothing_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.docx").write_bytes(b"x")
    for path, told in (("none", "does not exist"), ("empty", "holds no file of"), ("a.docx", "is not one of")):
        with pytest.raises(DokjaError, match=told):
            files(replace(SOURCE, paths=(str(tmp_path / path),)))


def test_a_file_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("글", encoding="utf-8")
    source = replace(SOURCE, paths=(str(tmp_path), str(tmp_path / "a.txt"), str(tmp_path / "a.txt")))
    assert len(files(source)) == 1


@pytest.mark.parametrize(("name", "data", "told"), [
    ("a.jsonl", b'{"text": "x"}\n{', "a.jsonl:2 is not JSON"), ("a.json", b"{", "is not JSON"),
    ("a.txt", "한글".encode("cp949"), "iconv -f cp949"), ("a.parquet", b"PAR1", "is not Parquet"),
])
def test_damage_is_told_with_the_place(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DokjaError, match=told):
        of(tmp_path / name)
