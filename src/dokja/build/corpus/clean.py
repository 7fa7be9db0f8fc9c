"""Unicode and whitespace of a document, with Hangul kept whole; and whether it was decoded with the wrong encoding.

NFC composes syllables. What NFC leaves is repaired by hand: conjoining jamo that stand alone become the letters that
people type (ㅋ, ㅠ), while old Hangul, which has no composed form, stays; half-width jamo become letters, and syllables
where they spell one; full-width Latin becomes ASCII. Letters that stand alone on purpose (ㅋㅋ, ㅠㅠ) are not touched.
Sources: Unicode 16, sections 3.12 (Hangul syllables) and 18.6; KS X 1026-1.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_CONTROL = ("\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
            "\ufffe\uffff")
_NEWLINE = "\r\x0b\x0c\x85\u2028\u2029"
_SPACE = "\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\u3164\uffa0"
_JAMO = "\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb"
_WIDTH = "\uff01-\uff9f\uffa1-\uffdc\uffe0\uffe1\uffe5\uffe6"

_ODD = re.compile(f"[{_CONTROL}{_NEWLINE}{_SPACE}{_JAMO}{_WIDTH}]")
_REMOVED, _NEWLINES, _SPACES = re.compile(f"[{_CONTROL}]+"), re.compile(f"\r\n|[{_NEWLINE}]"), re.compile(f"[{_SPACE}]")
_JAMO_RUN = re.compile(f"[{_JAMO}]+")
_KATAKANA, _HALF_JAMO = re.compile("[\uff61-\uff9f]+"), re.compile("[\uffa1-\uffdc]+")
_FULL = re.compile("[\uff01-\uff5e\uffe0\uffe1\uffe5\uffe6]")
_SYLLABLES = re.compile("([ㄱ-ㅎ])([ㅏ-ㅣ])([ㄱ-ㄷㄹ-ㅃㅄ-ㅈㅊ-ㅎ](?![ㅏ-ㅣ]))?")
_LEADING, _VOWEL, _TRAILING = "\u1100-\u115f\ua960-\ua97c", "\u1160-\u11a7\ud7b0-\ud7c6", "\u11a8-\u11ff\ud7cb-\ud7fb"
_OLD_SYLLABLE = re.compile(f"[{_LEADING}]+[{_VOWEL}]+[{_TRAILING}]*")
_BLANK_LINES = re.compile("\n{3,}")

_ASCII = {0xFF01 + i: 0x21 + i for i in range(94)}
_ASCII |= {0xFFE0: 0xA2, 0xFFE1: 0xA3, 0xFFE5: 0xA5, 0xFFE6: 0x20A9}
_ASCII_LETTERS = {code: plain for code, plain in _ASCII.items() if chr(plain).isalnum()}
_HANGUL = re.compile("[가-힣]")

# UTF-8 read as Windows-1252 or Latin-1: a syllable is one of ê ë ì í and two characters of the bytes 80-BF.
_UTF8_AS_LATIN = re.compile("[êëìí](?:[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]){2}")
# CP949 read as Latin-1: a syllable is a byte of B0-C8 and one of A1-FE; two of them in a row are in no language.
_CP949_AS_LATIN = re.compile("(?:[\xb0-\xc8][\xa1-\xfe]){2,}")
_LATIN = re.compile("[\xb0-\xc8\xea-\xed]")  # where either begins
_LOST = ("\ufffd", "占쏙옙")  # the replacement character, and what CP949 makes of two of them
_MOST_LOST, _MOST_MISREAD = 0.002, 0.1  # of the characters


def mojibake(text: str) -> bool:
    """Whether a text was decoded with the wrong encoding: more than 0.2 % lost or 10 % misread characters."""
    if text.isascii():
        return False
    if sum(text.count(lost) for lost in _LOST) > _MOST_LOST * len(text):
        return True
    if _LATIN.search(text) is None:
        return False
    return any(sum(len(match.group()) for match in pattern.finditer(text)) > _MOST_MISREAD * len(text)
               for pattern in (_UTF8_AS_LATIN, _CP949_AS_LATIN))


def clean(text: str) -> tuple[str, tuple[str, ...]]:
    """The text in NFC with Unicode and whitespace in order, and the kinds of change that were made.

    Kinds: "composed" (NFC), "controls", "spaces", "width", "jamo", "lines" (trailing spaces, more than one blank line).
    Cleaning twice changes nothing more.
    """
    changes: list[str] = []
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        changes.append("composed")
    if _ODD.search(text):
        for kind, step in (("controls", _controls), ("spaces", _spaces), ("width", _widths), ("jamo", _jamo)):
            changed = step(text)
            if changed != text:
                text = changed
                changes.append(kind)
        # What was composed of half-width letters, or stood next to a removed control, may compose further.
        text = unicodedata.normalize("NFC", text)
    tidy = text
    if " \n" in tidy or "\t\n" in tidy:
        tidy = "\n".join(line.rstrip() for line in tidy.split("\n"))
    tidy = _BLANK_LINES.sub("\n\n", tidy) if "\n\n\n" in tidy else tidy
    tidy = tidy.rstrip().strip("\n")
    if tidy != text:
        changes.append("lines")
    return tidy, tuple(changes)


def _controls(text: str) -> str:
    return _REMOVED.sub("", text)


def _spaces(text: str) -> str:
    return _SPACES.sub(" ", _NEWLINES.sub("\n", text))


def _widths(text: str) -> str:
    if _FULL.search(text):
        # Among Chinese and Japanese alone full-width punctuation is the right one.
        text = text.translate(_ASCII if _HANGUL.search(text) else _ASCII_LETTERS)
    text = _KATAKANA.sub(lambda run: unicodedata.normalize("NFKC", run.group()), text)
    return _HALF_JAMO.sub(lambda run: _composed("".join(_letters().get(char, char) for char in run.group())), text)


def _composed(letters: str) -> str:
    """Letters in typing order with those that spell a syllable composed; ㅋㅋ stays ㅋㅋ."""
    def compose(match: re.Match[str]) -> str:
        roles = ("CHOSEONG", "JUNGSEONG", "JONGSEONG")
        names = [unicodedata.name(letter).removeprefix("HANGUL LETTER ") for letter in match.groups() if letter]
        try:
            jamo = [unicodedata.lookup(f"HANGUL {role} {name}") for role, name in zip(roles, names, strict=False)]
        except KeyError:  # a cluster such as ㄳ begins no syllable
            return match.group()
        return unicodedata.normalize("NFC", "".join(jamo))

    return _SYLLABLES.sub(compose, letters)


def _jamo(text: str) -> str:
    """Conjoining jamo that spell no syllable as letters; old syllables, and old finals of composed ones, stay."""
    def repair(run: re.Match[str]) -> str:
        jamo, parts, at = run.group(), [], 0
        before = text[run.start() - 1] if run.start() else ""
        if "가" <= before <= "힣" and (ord(before) - 0xAC00) % 28 == 0:
            while at < len(jamo) and re.match(f"[{_TRAILING}]", jamo[at]):
                at += 1
            parts.append(jamo[:at])
        for syllable in _OLD_SYLLABLE.finditer(jamo, at):
            parts += (_letters().get(char, char) for char in jamo[at : syllable.start()])
            parts.append(syllable.group())
            at = syllable.end()
        parts += (_letters().get(char, char) for char in jamo[at:])
        return "".join(parts)

    return _JAMO_RUN.sub(repair, text)


@lru_cache(maxsize=1)
def _letters() -> dict[str, str]:
    """Conjoining and half-width jamo that have a letter of their own among U+3131 to U+318E."""
    found = {}
    for code in (*range(0x1100, 0x1200), *range(0xA960, 0xA97D), *range(0xD7B0, 0xD7FC), *range(0xFFA1, 0xFFDD)):
        name = unicodedata.name(chr(code), "")
        *_, letter = re.split("HALFWIDTH HANGUL LETTER |HANGUL (?:CHOSEONG|JUNGSEONG|JONGSEONG) ", name)
        try:
            found[chr(code)] = unicodedata.lookup(f"HANGUL LETTER {letter}")
        except KeyError:
            continue
    return found
