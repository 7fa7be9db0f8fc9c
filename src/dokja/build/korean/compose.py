"""From (seed, index) to a document: the kind is drawn by its share, then a frame of the kind is planned and told."""

from __future__ import annotations

from bisect import bisect
from functools import lru_cache
from itertools import accumulate
from random import Random

from dokja.build.document import Document, Role, Turn
from dokja.build.korean.frames import Frame, frame_set
from dokja.build.korean.template import Context, template
from dokja.build.korean.world import pick

# Kind to its share of the documents.
KINDS: dict[str, float] = {
    "story": 0.22,
    "diary": 0.06,
    "notice": 0.05,
    "dialogue": 0.12,
    "explanation": 0.13,
    "question-answer": 0.20,
    "conversation": 0.22,
}
_BOUNDS = tuple(accumulate(KINDS.values()))
_NAMES = tuple(KINDS)
_PLOTS = ("stories.txt", "tales.txt", "events.txt")
STORY_FILES = (*_PLOTS, "portraits.txt")
# Kind to the files its frames are in.
TEXT_FILES: dict[str, tuple[str, ...]] = {
    "story": STORY_FILES,
    "diary": ("diaries.txt",),
    "notice": ("notices.txt",),
    "dialogue": ("dialogues.txt",),
    "explanation": ("explanations.txt",),
    "question-answer": (*STORY_FILES, "notices.txt"),
    "conversation": ("conversations.txt",),
}
_LONGEST = 12  # turns of a conversation
_ROLE: dict[str, Role] = {"U": "user", "B": "assistant"}

_ASK = tuple(
    template(text)
    for text in (
        "다음 글을 읽고 질문에 답해 주세요.////{text}////질문: {q}",
        "아래 글을 읽어 보세요.////{text}////{q}",
        "{text}////위 글을 읽고 답해 주세요. {q}",
        "{text}////{q}",
        "[이 글|다음 글]을 읽고 물음에 답해 주세요.//{text}//물음: {q}",
    )
)


_TELL = tuple(
    template(text)
    for text in (
        "[짧은 이야기|이야기|재미있는 이야기] 하나 들려주세요.",
        "심심해요. [이야기 하나 해 주세요|짧은 이야기를 듣고 싶어요].",
        "잠자기 전에 들을 이야기를 하나 해 주세요.",
        "안녕하세요? [오늘은 이야기를 듣고 싶어요|짧은 이야기를 지어 주세요].",
    )
)
_TELLING = tuple(template(text) for text in ("", "네, [들어 보세요|이야기해 드릴게요]. ", "좋아요. "))


@lru_cache(maxsize=64)
def _seed_base(seed: int) -> int:
    return (seed & 0xFFFFFFFFFFFFFFFF) << 64


def _generator(seed: int, index: int) -> Random:
    # Random(int) hashes all of its digits into the state, on every platform alike.
    return Random(_seed_base(seed) | index)


def _asked(frame: Frame, ctx: Context, rng: Random) -> Document:
    """A text in the user's turn, then one to three questions about it."""
    ctx["text"] = frame.tell(ctx, rng)
    ctx["_style"] = "polite" if rng.random() < 0.7 else "formal"
    count = min(len(frame.questions), 1 + int(rng.random() * 3))
    turns: list[Turn] = []
    for asks, answers in rng.sample(frame.questions, count):
        ctx["q"] = pick(rng, asks)(ctx, rng)
        turns.append(Turn("user", ctx["q"] if turns else pick(rng, _ASK)(ctx, rng)))
        turns.append(Turn("assistant", pick(rng, answers)(ctx, rng)))
    return Document("korean/question-answer", turns=tuple(turns))


def _told(rng: Random) -> Document:
    """The user asks for a story, hears one, and asks about it."""
    frame = frame_set(*_PLOTS).pick(rng)
    ctx = frame.plan(rng, "polite")
    turns = [Turn("user", pick(rng, _TELL)(ctx, rng))]
    turns.append(Turn("assistant", pick(rng, _TELLING)(ctx, rng) + frame.tell(ctx, rng)))
    for asks, answers in rng.sample(frame.questions, min(len(frame.questions), 1 + int(rng.random() * 2))):
        turns.append(Turn("user", pick(rng, asks)(ctx, rng)))
        turns.append(Turn("assistant", pick(rng, answers)(ctx, rng)))
    return Document("korean/conversation", turns=tuple(turns))


def _conversed(frame: Frame, rng: Random) -> Document:
    """One topic, or two one after the other with the same person."""
    style = "polite" if rng.random() < 0.75 else "formal"
    register = "polite" if rng.random() < 0.5 else "casual"
    if frame.styles == ("polite",):
        style = "polite"
    register = frame.spoken(register)
    ctx = frame.plan(rng, style)
    turns = frame.converse(ctx, rng, register)
    if len(turns) <= 8 and rng.random() < 0.85:
        second = frame_set(*TEXT_FILES["conversation"]).pick(rng)
        if second is not frame and not second.opening and second.styles in (("plain",), (style,)):
            # Whoever speaks has one name, whether or not it has been said.
            again = second.plan(rng, style)
            again.update({key: value for key, value in ctx.items() if key == "a" or key.startswith("a.")})
            introduced = any(str(ctx.get("a.n", "?")) in said for _, said in turns)
            turns += second.converse(again, rng, register, True, introduced)[: _LONGEST - len(turns)]
    return Document("korean/conversation", turns=tuple(Turn(_ROLE[role], said) for role, said in turns))


def _explained(frame: Frame, rng: Random) -> Document:
    """An explanation, often with a second one on another subject in a paragraph of its own."""
    ctx = frame.plan(rng)
    text = frame.tell(ctx, rng)
    if rng.random() < 0.9:
        second = frame_set(*TEXT_FILES["explanation"]).pick(rng)
        if second is not frame:
            text += "\n" + second.tell(second.plan(rng, ctx["_style"]), rng)
    return Document("korean/explanation", text)


def compose_document(seed: int, index: int) -> Document:
    """The document at `index` of a seed; ValueError for a negative index."""
    if index < 0:
        raise ValueError(f"document index {index} is negative; indices begin at 0")
    rng = _generator(seed, index)
    kind = _NAMES[bisect(_BOUNDS, rng.random() * _BOUNDS[-1])]
    frame = frame_set(*TEXT_FILES[kind]).pick(rng)
    source = f"korean/{kind}"
    if kind == "question-answer":
        return _asked(frame, frame.plan(rng), rng)
    if kind == "conversation" and rng.random() < 0.12:
        return _told(rng)
    if kind == "conversation":
        return _conversed(frame, rng)
    if kind == "explanation":
        return _explained(frame, rng)
    return Document(source, frame.tell(frame.plan(rng), rng, "\n" if kind == "dialogue" else " "))
