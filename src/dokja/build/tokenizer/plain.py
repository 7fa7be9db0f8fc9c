"""A small byte-level BPE, trained from scratch for each team of a season in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from ...models.codec import END_OF_TEXT, Codec
from ...models.families import ChatFormat
from ..document import Document

# A word is a run of letters with the space before it; digits stand alone, so that 325 is always 3, 2, 5 and place
# value can be learnt; Hangul compatibility jamo stand alone too, because exercises take syllables apart.
WORDS = r"\p{N}|[\u3131-\u318E]| ?[^\s\p{L}\p{N}]+| ?[^\s\p{N}\p{P}\p{S}\u3131-\u318E]+|\s+(?!\S)|\s+"


# How often the trainer sees the names of the roles in the turn markers, so that they are among its first words.
_ROLES = 20_000


def train_tokenizer(documents: Iterable[Document], vocab: int, chat: ChatFormat, *, max_bytes: int,
                    spelled: Iterable[str] = ()) -> Codec:
    """Learn `vocab` tokens, bytes and special tokens included, from the first `max_bytes` of the documents.

    The role names in the turn markers become tokens: spelled out, "user" and "assistant" cost a short conversation more
    than what is said in it. spelled: texts of which characters are learnt and no words.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[END_OF_TEXT, *chat.special], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = chain(_first(documents, max_bytes), ("\n".join(text) for text in spelled), role_words(chat))
    tokenizer.train_from_iterator(texts, trainer)
    return Codec(tokenizer, chat)


def role_words(chat: ChatFormat) -> list[str]:
    """The words that the turn markers hold beside special tokens (user and assistant), as often as they are trained."""
    text = f"{chat.user} {chat.assistant}"
    for marker in chat.special:
        text = text.replace(marker, " ")
    return text.split() * _ROLES


def _first(documents: Iterable[Document], max_bytes: int) -> Iterator[str]:
    taken = 0
    for document in documents:
        if taken >= max_bytes:
            return
        text = document.content
        taken += len(text.encode())
        yield text
