"""Letters in words: how many r are in 'strawbrerry', which letter is third, how a word reads backwards.

The words are English, misspelt on purpose or made up, and Korean syllables.
"""

from __future__ import annotations

from random import Random

from .core import Exercise
from .words import NOUNS, letter_particle

_ENGLISH = """
strawberry banana apple cherry grape lemon melon orange peach pepper carrot tomato potato onion garlic butter
cheese bread coffee cookie cake sugar honey water river ocean beach island mountain forest garden flower tree
grass summer winter spring autumn morning evening night monday friday sunday moon star cloud rain snow wind
storm rabbit tiger lion bear horse sheep monkey elephant giraffe turtle chicken duck eagle parrot spider
butterfly dragon school teacher student pencil paper book letter number window door table chair kitchen bedroom
mirror bottle basket pillow blanket ladder hammer needle thread button jacket sweater shoes hat glove scarf
pocket purse ticket train bus bicycle bridge street village city country doctor nurse farmer singer dancer
painter writer driver sister brother mother father cousin friend baby family happy sunny little yellow purple
green silver golden circle square triangle corner center music piano guitar violin drum song dance movie theater
camera computer internet keyboard program football soccer tennis hockey baseball swimming running jumping
reading summit address bubble puzzle balloon pizza noodle hobby penny committee mississippi possess success
access process bookkeeper parallel
"""
ENGLISH: tuple[str, ...] = tuple(_ENGLISH.split())
_SHORT = tuple(word for word in ENGLISH if len(word) <= 6)
_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnprstvwz"
_SYLLABLES = "가나다라마바사아자차카타파하고노도로모보소오조코구누두루무부수우주기니디리미비시이지"
_ORDINALS = ("첫", "두", "세", "네", "다섯", "여섯", "일곱", "여덟")
_KOREAN = tuple(noun for noun in NOUNS if 2 <= len(noun) <= 5)

_COUNT = (
    "'{w}'에 {q}{sub} 몇 번 나옵니까?",
    "'{w}'에는 {q}{sub} 몇 번 들어 있습니까?",
    "'{w}'에서 {q}{topic} 모두 몇 번입니까?",
    "'{w}'에서 {q}{of} 세면 몇 번입니까?",
)
_NTH = (
    "'{w}'의 {n} 글자는 무엇입니까?",
    "'{w}'에서 {n} 글자는?",
    "'{w}'의 {n} 글자를 쓰세요.",
)
_LENGTH = (
    "'{w}'의 글자 수는 몇 개입니까?",
    "'{w}'에는 글자가 몇 개 있습니까?",
    "'{w}'에서 글자를 모두 세면 몇 개입니까?",
)
_BACKWARDS = (
    "'{w}'의 글자를 거꾸로 쓰세요.",
    "'{w}'의 글자를 뒤에서부터 쓰면?",
    "'{w}'에서 글자 순서를 뒤집으면?",
)


def _invented(rng: Random) -> str:
    """A pronounceable word that no dictionary has, such as "tobi" or "selaru"."""
    pieces = (rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randrange(2, 5)))
    return "".join(pieces) + (rng.choice(_CONSONANTS) if rng.random() < 0.4 else "")


def _misspelt(rng: Random, word: str) -> str:
    """The word with a letter doubled, dropped or exchanged with its neighbour."""
    place = rng.randrange(len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:place] + word[place] + word[place:]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _english(rng: Random) -> tuple[str, int]:
    """A word and its level."""
    draw = rng.random()
    if draw < 0.4:
        return rng.choice(_SHORT), 1
    word = rng.choice(ENGLISH) if draw < 0.8 else _invented(rng)
    if draw > 0.55 and len(word) > 2:
        word = _misspelt(rng, word)
    return word, 1 if len(word) < 6 else 2 if len(word) < 9 else 3


def _korean(rng: Random) -> tuple[str, int]:
    if rng.random() < 0.5:
        return rng.choice(_KOREAN), 1
    word = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randrange(2, 6)))
    return word, 1 if len(word) < 4 else 2


def _with_more(rng: Random, word: str, letter: str, wanted: int) -> str:
    """The word with copies of a letter put in or taken out until it has `wanted` of them."""
    have = word.count(letter)
    while have < wanted:
        place = rng.randrange(len(word) + 1)
        word = word[:place] + letter + word[place:]
        have += 1
    if have > wanted:
        word = word.replace(letter, "", have - wanted)
    return word


def _count(rng: Random) -> Exercise:
    """Counts of 1 to 4 are alike likely and 0 now and then, so that no one answer is worth giving blindly."""
    while True:
        if rng.random() < 0.65:
            word, _ = _english(rng)
            letter = rng.choice(word)
        else:
            word = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randrange(2, 5)))
            letter = rng.choice(word)
        draw = rng.random()
        wanted = 0 if draw < 0.1 else int(1 + (draw - 0.1) / 0.225)
        word = _with_more(rng, word, letter, wanted)
        if 2 <= len(word) <= 13:
            break
    level = 1 if len(word) < 7 else 2 if len(word) < 10 else 3
    key = f"letters:count:{letter}:{word}"
    if letter.isascii():
        # A capital at the head, as of a name, but never of the letter in question: is S an s?
        if word[0] != letter and rng.random() < 0.1:
            word = word.capitalize()
        quoted = letter
        sub, topic, of = (letter_particle(letter, pair) for pair in ("이/가", "은/는", "을/를"))
    else:
        # Every syllable of the Korean pool is open.
        quoted, sub, topic, of = f"'{letter}'", "가", "는", "를"
    prompt = rng.choice(_COUNT).format(w=word, q=quoted, sub=sub, topic=topic, of=of)
    return Exercise("letters", prompt, f"{wanted}번", key, "count", level)


def _nth(rng: Random) -> Exercise:
    word, level = _english(rng) if rng.random() < 0.5 else _korean(rng)
    place = rng.randrange(min(len(word), len(_ORDINALS)))
    ordinal = f"{_ORDINALS[place]} 번째"
    if rng.random() < 0.15:
        place, ordinal = len(word) - 1, "마지막"
    prompt = rng.choice(_NTH).format(w=word, n=ordinal)
    key = f"letters:nth:{place}:{word}"
    return Exercise("letters", prompt, word[place], key, "nth", level, choices=tuple(word))


def _length(rng: Random) -> Exercise:
    word, level = _english(rng) if rng.random() < 0.7 else _korean(rng)
    prompt = rng.choice(_LENGTH).format(w=word)
    also = (f"{len(word)}글자", f"{len(word)}자")
    return Exercise("letters", prompt, f"{len(word)}개", f"letters:length:{word}", "length", level, also=also)


def _backwards(rng: Random) -> Exercise:
    while True:
        word, level = _english(rng) if rng.random() < 0.3 else _korean(rng)
        if len(word) <= 6:
            break
    prompt = rng.choice(_BACKWARDS).format(w=word)
    return Exercise("letters", prompt, word[::-1], f"letters:backwards:{word}", "backwards", max(2, level))


def make(rng: Random) -> Exercise:
    """Count a letter, name the letter at a place, count all letters, or turn a word round."""
    draw = rng.random()
    if draw < 0.5:
        return _count(rng)
    if draw < 0.75:
        return _nth(rng)
    if draw < 0.9:
        return _length(rng)
    return _backwards(rng)


def drill(rng: Random) -> Exercise:
    """abbab의 b 수 -> 3, and 가나다 거꾸로 -> 다나가: letters or syllables that make no word."""
    symbols = rng.sample(_VOWELS + _CONSONANTS if rng.random() < 0.5 else _SYLLABLES, 4)
    if rng.random() < 0.45:
        word = "".join(symbols[: 2 if rng.random() < 0.3 else 3])
        return Exercise("letters", f"{word} 거꾸로", word[::-1], f"letters:backwards:{word}", "drill backwards", 1)
    letter, *others = symbols
    wanted = rng.randrange(1, 5)
    drawn = [letter] * wanted + [rng.choice(others) for _ in range(rng.randrange(1, 4))]
    rng.shuffle(drawn)
    word = "".join(drawn)
    key, also = f"letters:count:{letter}:{word}", (f"{wanted}번", f"{wanted}개")
    return Exercise("letters", f"{word}의 {letter} 수", str(wanted), key, "drill count", 1, also=also)
