"""What a token may span: the regular expressions that cut text into words and, later, into superword pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokenizers import Regex, decoders, pre_tokenizers

_JAMO = r"\u3131-\u318E"  # compatibility jamo: letters by themselves, as in ㅋㅋ
_HANGUL = r"\uAC00-\uD7A3\u1100-\u11FF\uA960-\uA97F\uD7B0-\uD7FF"  # syllables, and the jamo that they decompose into
_DIGITS = {
    "single": r"\d",
    # Groups of up to three that are counted from the right, as one writes 12,345: place value then does not depend on
    # how long the number is (Singh & Strouse 2024, arXiv 2402.14903). Only 60 digits are looked at, or a long row of
    # digits would cost the square of its length.
    "triples": r"\d{1,3}(?=(?:\d{3}){0,20}(?!\d))|\d{1,3}",
}
_LONE = {"single": f"[{_JAMO}]", "runs": f"[{_JAMO}]+"}


@dataclass(frozen=True)
class Patterns:
    """How text is cut before merges are learnt or applied; patterns are in the syntax of `tokenizers` (Oniguruma).

    digits: "single" (325 is always 3, 2, 5, so that a small model can learn place value) or "triples" (groups of three
    from the right: fewer tokens). Other numerals, such as ① or Ⅳ, are symbols. jamo: "single" keeps compatibility jamo
    apart (for models that take syllables apart) or "runs" (ㅋㅋㅋ may be one token).
    """

    digits: Literal["single", "triples"] = "triples"
    jamo: Literal["single", "runs"] = "runs"

    @property
    def words(self) -> str:
        """Words: a run of Hangul or of other letters with the space before it, digits, symbols with line ends after
        them, white space. Hangul ends where another script begins, so that React는 is learnt as React and 는.
        """
        return (rf"{_DIGITS[self.digits]}|{_LONE[self.jamo]}| ?[{_HANGUL}]+"
                rf"| ?[^\s\p{{N}}\p{{P}}\p{{S}}{_JAMO}{_HANGUL}]+"
                r"| ?[^\s\d\p{L}\p{M}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

    @property
    def pieces(self) -> str:
        """What a superword may lie in: a line, up to where a sentence ends in it, with the line ends after it.

        Digits stay by themselves, and so do jamo where they are single. Python's `re` reads this pattern the same.
        """
        jamo, lone = (_JAMO, f"|{_LONE['single']}") if self.jamo == "single" else ("", "")
        return (rf"{_DIGITS[self.digits]}{lone}|(?:[^\d\r\n.?!{jamo}]++|[.?!](?!\s))++[.?!]?[\r\n]*"
                r"|[.?!][\r\n]*|[\r\n]+")


def cutter(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Cuts text into the pattern's matches, none of it lost."""
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def byte_level(*steps: pre_tokenizers.PreTokenizer) -> pre_tokenizers.PreTokenizer:
    """The steps, then bytes as letters, which is how tokenizer.json spells them."""
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_decoder() -> decoders.Decoder:
    """Letters back to bytes."""
    return decoders.ByteLevel()


def letters() -> dict[int, str]:
    """The letter of each byte in a byte-level tokenizer.json: itself where it is visible, else one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
