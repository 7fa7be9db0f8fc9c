"""Merges that go on are those of plain BPE, and those of the library's trainer where it can be asked."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from dokja.build.korean import documents
from dokja.build.tokenizer.merges import GAP, flatten, go_on
from dokja.build.tokenizer.patterns import byte_level, letters

BYTES = [bytes([value]) for value in range(256)]


def plain_bpe(pieces: dict[bytes, int], vocab: int, least: int) -> tuple[list[bytes], list[list[bytes]]]:
    """BPE as Sennrich et al. (2016) write it down: count all pairs, merge the commonest everywhere, begin again."""
    tokens, spelled, refused = list(BYTES), {piece: [bytes([b]) for b in piece] for piece in pieces}, set()
    while len(tokens) < vocab:
        counts: Counter[tuple[int, int]] = Counter()
        for piece, parts in spelled.items():
            i = 0
            while i + 1 < len(parts):
                pair = (tokens.index(parts[i]), tokens.index(parts[i + 1]))
                counts[pair] += pieces[piece]
                # aaa holds the pair (a, a) once, for it can be merged once
                i += 2 if parts[i] == parts[i + 1] and parts[i + 1:i + 3] == [parts[i]] * 2 else 1
        left = {pair: count for pair, count in counts.items() if count >= least and pair not in refused}
        if not left:
            break
        a, b = min(left, key=lambda pair: (-left[pair], pair))
        joined = tokens[a] + tokens[b]
        if joined in tokens:
            refused.add((a, b))
            continue
        tokens.append(joined)
        for piece, parts in spelled.items():
            merged: list[bytes] = []
            i = 0
            while i < len(parts):
                if parts[i:i + 2] == [tokens[a], tokens[b]]:
                    merged.append(joined)
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            spelled[piece] = merged
    return tokens, list(spelled.values())


@settings(deadline=None, max_examples=150)
@given(pieces=st.dictionaries(st.text("abc ", min_size=1, max_size=12).map(str.encode), st.integers(1, 9), min_size=1,
                              max_size=8), more=st.integers(0, 20), least=st.integers(1, 6))
def test_merges_are_those_of_bpe_written_down_plainly(pieces: dict[bytes, int], more: int, least: int) -> None:
    ids, weights = flatten([np.frombuffer(piece, np.uint8).astype(np.int32) for piece in pieces],
                           list(pieces.values()))
    tokens = list(BYTES)
    merges = go_on(ids, weights, tokens, 256 + more, least=least)
    expected, spelled = plain_bpe(pieces, 256 + more, least)
    assert tokens == expected
    assert [tokens[a] + tokens[b] for a, b in merges] == expected[256:]
    assert [tokens[i] for i in ids[ids != GAP]] == [part for parts in spelled for part in parts]


def test_from_bytes_on_merges_are_those_of_the_library() -> None:
    """On words of Korean text, as long as no two pairs are equally common."""
    words: Counter[str] = Counter(word for document in documents(3, 0, 400) for word in document.content.split())
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = byte_level(pre_tokenizers.WhitespaceSplit())
    library.train_from_iterator((word for word, times in words.items() for _ in range(times)), trainers.BpeTrainer(
        vocab_size=700, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    ids, weights = flatten([np.frombuffer(word.encode(), np.uint8).astype(np.int32) for word in words],
                           list(words.values()))
    tokens = list(BYTES)
    go_on(ids, weights, tokens, 700)
    theirs = {token for token, index in library.get_vocab().items() if index >= 256}
    ours = {"".join(letters()[byte] for byte in token) for token in tokens[256:]}
    assert len(ours & theirs) >= 0.98 * len(ours)  # ties are broken otherwise, and at the end a few fall out
    said = library.encode_batch_fast(list(words), add_special_tokens=False)
    total = sum(len(one.ids) * times for one, times in zip(said, words.values(), strict=True))
    assert int(weights[ids != GAP].sum()) == pytest.approx(total, rel=2e-3)


def test_nothing_spans_two_pieces_and_what_does_not_fit_stays_apart() -> None:
    ids, weights = flatten([np.frombuffer(b"ab", np.uint8).astype(np.int32)] * 3, [5, 5, 5])
    tokens = list(BYTES)
    assert len(go_on(ids, weights, tokens, 300)) == 1
    assert tokens[256:] == [b"ab"]
    ids, weights = flatten([np.frombuffer(b"abab", np.uint8).astype(np.int32)], [5])
    tokens = list(BYTES)
    asked: list[tuple[bytes, bytes]] = []
    go_on(ids, weights, tokens, 300, fit=lambda left, right: asked.append((left, right)) or left != b"a")
    assert tokens[256:] == [b"ba", b"bab"]
    assert len(asked) == len(set(asked))


def test_letters_of_bytes_are_those_of_the_library() -> None:
    assert sorted(letters().values()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert json.dumps([letters()[byte] for byte in " \n\xe3".encode("latin-1")]) == json.dumps(["Ġ", "Ċ", "ã"])
