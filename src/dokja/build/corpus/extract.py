"""Text out of formats that are not text: pages of WARC archives, and HWPX, the format of Korean public offices."""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DokjaError
from ..lines import chunks, unreadable

_LONGEST = 16 << 20  # bytes of one page; longer ones are dumps
_HTML = ("text/html", "application/xhtml+xml")
_HANGUL = re.compile("[가-힣]")
_MOST = 256 << 20  # bytes that an HWPX file may unpack to


def pages(path: Path) -> Iterator[tuple[str | None, str]]:
    """(text, "") of every HTML page in a WARC file (.warc, .gz, .zst), or (None, reason) for another answer.

    Resiliparse extracts the main content: what Bevendorff et al. 2023 found fast and good, and DataComp-LM 2024 took.
    Raises DokjaError for a file that is damaged.
    """
    try:
        from resiliparse.extract.html2text import extract_plain_text
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
    except ImportError:
        raise DokjaError(f"{path} needs warcio and resiliparse: `pip install dokja[corpus]` brings them") from None
    found = False
    try:
        # Through our own reader, which tells a file that was cut off from one that ended.
        for record in ArchiveIterator(io.BufferedReader(_Stream(path))):
            found = True
            if record.rec_type != "response":
                continue
            headers = record.http_headers
            kind = ((headers and headers.get_header("Content-Type")) or "").lower()
            if kind.split(";")[0].strip() not in _HTML:
                yield None, "not HTML"
                continue
            if headers.get_statuscode() != "200":
                yield None, "not the page (HTTP status)"
                continue
            page = record.content_stream().read(_LONGEST + 1)
            if len(page) > _LONGEST:
                yield None, "page over 16 MiB"
                continue
            if getattr(record.raw_stream, "limit", 0):
                raise DokjaError(f"{path} ends in the middle of a page; copy or download it again")
            text = extract_plain_text(_decoded(page, kind.partition("charset=")[2]), main_content=True,
                                      alt_texts=False)
            yield (text, "") if text.strip() else (None, "no main content")
    except ArchiveLoadFailed as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise DokjaError(f"{path} is no WARC file or is damaged ({said}); copy or download it again") from None
    if not found:
        raise DokjaError(f"{path} holds no WARC records; copy or download it again")


def _decoded(page: bytes, charset: str) -> str:
    """A page as text: what its server declares, else UTF-8, else what its bytes look like."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    declared = charset.split(";")[0].strip(" \"'")
    if not declared:
        with contextlib.suppress(UnicodeDecodeError):
            return page.decode()
        # A short Korean page without a declaration is often taken for Latin: CP949 comes first where it gives Hangul.
        with contextlib.suppress(UnicodeDecodeError):
            korean = page.decode("cp949")
            if len(_HANGUL.findall(korean)) > 0.5 * sum(not char.isascii() for char in korean):
                return korean
        declared = detect_encoding(page, from_html_meta=True) or "utf-8"
    try:
        return bytes_to_str(page, declared)
    except LookupError:
        return bytes_to_str(page, detect_encoding(page) or "utf-8")


class _Stream(io.RawIOBase):
    """A file, decompressed, for libraries that want a file object."""

    def __init__(self, path: Path) -> None:
        self._chunks = chunks(path)
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            held = next(self._chunks, None)
            if held is None:
                return 0
            self._held = held
        taken = self._held[: len(buffer)]
        buffer[: len(taken)] = taken
        self._held = self._held[len(taken) :]
        return len(taken)


def hwpx_text(path: Path) -> str:
    """The text of an HWPX document, headings and paragraphs on lines, table rows on lines with tabs between cells.

    Raises DokjaError for a file that is damaged, encrypted or no HWPX.
    """
    try:
        from hwpx import HwpxDocument
    except ImportError:
        raise DokjaError(f"{path} is HWPX: `pip install dokja[corpus]` brings python-hwpx, which reads it") from None
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > _MOST:
            raise DokjaError(f"{path} unpacks to {unpacked:,} bytes, over {_MOST >> 20} MiB; leave it out")
        return str(HwpxDocument.open(str(path)).text.plain())
    except DokjaError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # the library has errors of its own, and lets through those of zipfile and lxml
        said = " ".join(str(error).split()).rstrip(".")
        raise DokjaError(f"{path} is no HWPX document that can be read ({said}); open and save it again") from None
