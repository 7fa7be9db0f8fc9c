"""Lines of text files, plain or compressed, streamed and strictly UTF-8, with errors that say where and what to do."""

from __future__ import annotations

import errno
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dokja.errors import DokjaError

COMPRESSED = (".gz", ".xz", ".zst")
LONGEST_LINE = 64 << 20  # bytes; what is longer is not made of lines, and would have to be held in memory
_CHUNK = 1 << 20


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1, without their line ends (\\n or \\r\\n) and byte order mark.

    Raises DokjaError for a file that cannot be opened, that is damaged or cut off, that is not UTF-8, or that has a
    line of more than 64 MiB. Positions count bytes of the uncompressed text.
    """
    offset = 0
    held: list[bytes] = []  # the beginning of a line whose end has not been read yet
    size = 0
    number = 0
    for chunk in chunks(path):
        first, *others = chunk.split(b"\n")
        held.append(first)
        size += len(first)
        if size > LONGEST_LINE:
            raise DokjaError(
                f"line {number + 1:,} of {path} is longer than {LONGEST_LINE >> 20} MiB and cannot be streamed; "
                "write one JSON object, or one paragraph, a line"
            )
        if not others:
            continue
        for line in (b"".join(held), *others[:-1]):
            number += 1
            yield number, _decode(line, path, number, offset)
            offset += len(line) + 1
        held, size = [others[-1]], len(others[-1])
    if size:
        yield number + 1, _decode(b"".join(held), path, number + 1, offset)


def _decode(line: bytes, path: Path, number: int, offset: int) -> str:
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        # UTF-16 begins with a byte order mark; of the other encodings of Korean text CP949 is by far the commonest.
        encoding = "utf-16" if line[:2] in (b"\xff\xfe", b"\xfe\xff") and offset == 0 else "cp949"
        raise DokjaError(
            f"{path} is not UTF-8: byte {offset + error.start:,}, in line {number:,}, cannot be read; convert it, for "
            f"example with `iconv -f {encoding} -t utf-8`"
        ) from None
    return text.removeprefix("\ufeff") if number == 1 else text


def unreadable(path: Path, error: OSError) -> DokjaError:
    """The sentence for a file or folder that the operating system refuses to read."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return DokjaError(f"{path} may not be read by this user; give read permission with chmod or leave it out")
    return DokjaError(f"{path} cannot be read ({error.strerror or error}); check the disk or leave it out")


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, decompressed, piece by piece; raises DokjaError where they are damaged or end too early."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".zst":
            yield from _zstd(path)
            return
        with _open(path, suffix) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except EOFError:
        raise _cut_off(path) from None
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise unreadable(path, error) from None


def _open(path: Path, suffix: str) -> BinaryIO | gzip.GzipFile | lzma.LZMAFile:
    if suffix == ".gz":
        return gzip.open(path)
    if suffix == ".xz":
        return lzma.open(path)
    return path.open("rb")


def _zstd(path: Path) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise DokjaError(f"{path} is compressed with zstd; `pip install dokja[text]` brings what reads it") from None
    # The library's own reader takes a file that was cut off for one that ended, so the frames are watched here.
    frame = None
    with path.open("rb") as file:
        try:
            while data := file.read(_CHUNK >> 6):  # little at a time: what comes out may be thousands of times larger
                while data:
                    if frame is None:
                        frame = zstandard.ZstdDecompressor().decompressobj()
                    yield frame.decompress(data)
                    data = b""
                    if frame.eof:
                        data, frame = frame.unused_data, None
        except zstandard.ZstdError as error:
            raise _damaged(path, error) from None
    if frame is not None:
        raise _cut_off(path)


def _cut_off(path: Path) -> DokjaError:
    return DokjaError(f"{path} ends in the middle of its compressed data; copy or download it again")


def _damaged(path: Path, error: Exception) -> DokjaError:
    return DokjaError(f"{path} is not {path.suffix[1:]} data or is damaged ({error}); copy or download it again")
