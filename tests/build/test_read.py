"""Reading text files: what becomes a document, what is skipped and counted, one clear sentence for every bad input."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from dokja.build.document import Document, Turn
from dokja.build.read import SECTION, Texts, clean
from dokja.errors import DokjaError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
zstandard = pytest.importorskip("zstandard")

ROWS = [{"text": "가을 하늘은 높다."}, {"text": "책을 읽는다.\n다시 읽는다."}]
COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def jsonl(rows: list[object]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def contents(*paths: Path) -> list[str]:
    return [document.content for document in Texts(paths)]


def failure(*paths: Path) -> str:
    with pytest.raises(DokjaError) as caught:
        list(Texts(paths))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("suffix", COMPRESS)
def test_jsonl_and_txt_in_every_compression(tmp_path: Path, suffix: str) -> None:
    rows = tmp_path / f"rows.jsonl{suffix}"
    rows.write_bytes(COMPRESS[suffix](jsonl(ROWS)))
    assert list(Texts([rows])) == [Document(rows.name, row["text"]) for row in ROWS]
    text = tmp_path / f"one.TXT{suffix}"
    text.write_bytes(COMPRESS[suffix]("\ufeff첫 줄\r\n둘째 줄".encode()))
    assert contents(text) == ["첫 줄\n둘째 줄"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    messages = [[{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": "안녕!"}], None]
    parquet.write_table(pyarrow.table({"text": [None, "글"], "messages": messages, "id": [1, 2]}), path)
    assert list(Texts([path])) == [
        Document("rows.parquet", turns=(Turn("user", "안녕?"), Turn("assistant", "안녕!"))),
        Document("rows.parquet", "글"),
    ]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_files_of_several_compressed_parts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(b"".join(COMPRESS[suffix](jsonl([row])) for row in ROWS))
    assert contents(path) == [row["text"] for row in ROWS]


def test_lines_that_span_reads(tmp_path: Path) -> None:
    texts = ["가" * 700_000, "나", "다" * 900_000]
    path = tmp_path / "long.jsonl"
    path.write_bytes(jsonl([{"text": text} for text in texts]))
    assert contents(path) == texts


def test_messages(tmp_path: Path) -> None:
    def message(*turns: tuple[str, object]) -> dict[str, object]:
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    path = tmp_path / "chat.jsonl"
    path.write_bytes(
        jsonl(
            [
                message(("system", "너는 비서다"), ("user", "질문"), ("assistant", "답"), ("user", "다음")),
                {**message(("user", "물음"), ("assistant", "대답")), "text": "<|user|>물음"},
                message(("user", "하나"), ("user", "둘")),
                message(("assistant", "먼저")),
                message(("user", "도구"), ("tool", "결과")),
                message(("user", "빈 답"), ("assistant", " \n")),
                message(("user", "조각"), ("assistant", [{"type": "text"}])),
                message(("user", "혼자")),
                {"messages": "글"},
                {"messages": []},
            ]
        )
    )
    texts = Texts([path])
    assert [document.turns for document in texts] == [
        (Turn("user", "질문"), Turn("assistant", "답")),
        (Turn("user", "물음"), Turn("assistant", "대답")),
    ]
    assert texts.skipped == {
        "chat.jsonl": {
            "turns do not alternate between user and assistant": 3,
            "empty turn": 1,
            "a message without role and content": 1,
            "no answered turn": 2,
            "messages is not a list": 1,
        }
    }


def test_rows_without_text_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"body": "글"}, {"text": 3}, {"text": ""}, {"text": "\x00 \n"}, [1], ROWS[0]]
    path.write_bytes(jsonl(rows) + b'\n{"text": "\\ud800"}\n')
    texts = Texts([path])
    for _ in range(2):  # the counts are those of one reading, not of all
        assert len(list(texts)) == 1
        assert texts.skipped["rows.jsonl"] == {
            "no text or messages": 1,
            "text is not a string": 1,
            "empty text": 2,
            "row is not an object": 1,
            "half a surrogate pair": 1,
        }


def test_clean_composes_hangul_and_drops_controls() -> None:
    apart = unicodedata.normalize("NFD", "독자는 한국어를 읽는다")
    assert clean(apart) == "독자는 한국어를 읽는다"
    assert clean("가\x00나\x1b\x7f\x85\ufeff\t다\r\n라\r마\n") == "가나\t다\n라\n마\n"
    assert clean("ㄱㅏ 👩\u200d🚀 〮") == "ㄱㅏ 👩\u200d🚀 〮"


def test_folders_are_walked_in_sorted_order(tmp_path: Path) -> None:
    folder = tmp_path / "글"
    for name in ("b/둘.txt", "b/하나.txt", "c.jsonl", "a/x.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jsonl([{"text": name}]) if name.endswith("jsonl") else name.encode())
    (folder / "b" / "그림.png").write_bytes(b"\x89PNG")
    (folder / "b" / "README").write_text("")
    texts = Texts([folder])
    assert [(document.source, document.text) for document in texts] == [
        ("글/c.jsonl", "c.jsonl"),
        ("글/a", "a/x.txt"),
        ("글/b", "b/둘.txt"),
        ("글/b", "b/하나.txt"),
    ]
    assert texts.skipped == {"글/b": {"file of unknown kind .png": 1, "file of unknown kind (no suffix)": 1}}


def test_a_long_txt_is_cut_at_blank_lines(tmp_path: Path) -> None:
    paragraph = "이 문단은 여러 번 나온다. " * 20
    book = "\n\n".join(f"{number}. {paragraph}" for number in range(400))
    path = tmp_path / "book.txt"
    path.write_text(book, encoding="utf-8")
    parts = contents(path)
    assert len(parts) > 4
    assert all(len(part) <= SECTION + 1000 for part in parts)
    assert all(part.strip()[0].isdigit() for part in parts)
    assert "".join("".join(parts).split()) == "".join(book.split())


def test_a_long_txt_without_lines_is_cut_as_well(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_text("낱말 " * 50_000, encoding="utf-8")
    parts = contents(path)
    assert "".join(parts) == "낱말 " * 50_000
    assert max(map(len, parts)) <= 2 * SECTION


# Bad input.


def test_missing_path_and_nothing_to_read(tmp_path: Path) -> None:
    assert "does not exist" in failure(tmp_path / "none.txt")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no file that can be read" in failure(empty)
    (empty / "a.pdf").write_bytes(b"%PDF")
    assert "no file that can be read" in failure(empty)
    assert "not a kind of file" in failure(empty / "a.pdf")
    (empty / "b.txt").write_text(" \n\n")
    assert "there is no text in" in failure(empty)
    assert "empty text" in failure(empty / "b.txt")
    (empty / "c.jsonl").write_bytes(b"")
    assert "there is no text in" in failure(empty / "c.jsonl")
    (empty / "d.jsonl").write_bytes(jsonl([{"title": "글"}]))
    assert "no text or messages" in failure(empty / "d.jsonl")


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_other_encodings_are_refused_with_their_place(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"old.txt{suffix}"
    start = "\ufeffUTF-8 줄\n"
    path.write_bytes(COMPRESS[suffix](start.encode() + b"ab" + "한글".encode("cp949")))
    sentence = failure(path)
    assert str(path) in sentence
    assert f"byte {len(start.encode()) + 2}" in sentence
    assert "line 2" in sentence
    assert "iconv -f cp949" in sentence
    path.write_bytes(COMPRESS[suffix]("한글".encode("utf-16")))
    assert "iconv -f utf-16" in failure(path)
    # The text of a multi-byte character that the file's end cuts off.
    path.write_bytes(COMPRESS[suffix]("한글".encode()[:-1]))
    assert "byte 3" in failure(path)


def test_rows_in_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(ROWS) + '{"text": "한글"}\n'.encode("cp949"))
    assert "line 3" in failure(path)


@pytest.mark.parametrize("bad", [b'{"text": "a"', b"{'text': 1}", b"[" * 100_000, b'{"text": ' + b"1" * 5000 + b"}"])
def test_broken_json_names_the_line(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(ROWS) + b"\n" + bad + b"\n")
    assert f"{path}:4 is not JSON" in failure(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("kept", [0.3, 0.98])
def test_truncated_files(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = COMPRESS[suffix](jsonl([{"text": os.urandom(40).hex()} for _ in range(4_000)]))
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "ends in the middle of its compressed data" in failure(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_files_that_are_not_what_they_are_called(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(jsonl(ROWS))
    assert f"is not {suffix[1:]} data or is damaged" in failure(path)
    whole = bytearray(COMPRESS[suffix](jsonl([{"text": os.urandom(40).hex()} for _ in range(2_000)])))
    for at in range(len(whole) // 2, len(whole) // 2 + 400):
        whole[at] ^= 0x55
    path.write_bytes(bytes(whole))
    assert str(path) in failure(path)


def test_bad_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"body": ["글"], "id": [1]}), path)
    assert "no column text or messages (it has body, id)" in failure(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert "is not Parquet or is damaged" in failure(path)
    path.write_bytes(b"")
    assert "is not Parquet or is damaged" in failure(path)
    bad = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xb0\xa1")]
    )
    parquet.write_table(pyarrow.table({"text": bad}), path)
    assert "not UTF-8" in failure(path)


def test_an_endless_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dokja.build.lines.LONGEST_LINE", 3 << 20)
    path = tmp_path / "zeros.txt"
    path.write_bytes(b"a\n" + b"\0" * (5 << 20))
    assert "line 2" in failure(path)


@pytest.mark.parametrize("name", ["zstandard", "pyarrow"])
def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / ("rows.jsonl.zst" if name == "zstandard" else "rows.parquet")
    path.write_bytes(b"data")
    assert "pip install dokja[text]" in failure(path)


def test_optional_libraries_are_imported_where_used(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.xz"
    path.write_bytes(lzma.compress(jsonl(ROWS)))
    code = (
        "import sys, pathlib; from dokja.build.read import Texts; from dokja.build import corpus;"
        f"list(Texts([pathlib.Path({str(path)!r})])); print('pyarrow' in sys.modules, 'zstandard' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_files_and_folders_without_permission(tmp_path: Path) -> None:
    folder = tmp_path / "shut"
    folder.mkdir()
    path = tmp_path / "a.txt"
    path.write_text("글", encoding="utf-8")
    path.chmod(0)
    folder.chmod(0)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    # Root may read everything, so the reading is done as nobody.
    code = (
        "import os, sys, pathlib; from dokja.build.read import Texts; from dokja.errors import DokjaError\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        f"for path in ({str(path)!r}, {str(folder)!r}):\n"
        "    try: list(Texts([pathlib.Path(path)])); print('read')\n"
        "    except DokjaError as error: print(error)\n"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    finally:
        folder.chmod(0o755)
    assert [f"{place} may not be read by this user" in line for place, line in zip(
        (path, folder), done.stdout.splitlines(), strict=True
    )] == [True, True]  # fmt: skip
