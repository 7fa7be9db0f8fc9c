"""Near-duplicates: recall and precision on planted truth, whatever the order; what is kept, and what is on disk."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import Planted, edited, jaccard, near_duplicates, prose, rules

from dokja.build.corpus.dedup import DedupConfig, NearDuplicates, signature, similarity
from dokja.errors import DokjaError

CONFIG = DedupConfig()


@pytest.fixture(scope="module")
def originals() -> list[str]:
    return prose(11, 400, 700)


@pytest.fixture(scope="module")
def planted(originals: list[str]) -> Planted:
    return near_duplicates(0, originals, rules(5, 250))


def drops(documents: dict[int, str], folder: Path, config: DedupConfig = CONFIG) -> dict[int, int]:
    found = NearDuplicates(config, folder)
    for key, text in documents.items():
        found.add(key, text)
    return dict(found.copies())


def test_the_hard_negatives_are_hard_and_negative(planted: Planted) -> None:
    texts = rules(5, 100)
    likeness = [jaccard(one, other) for one, other in itertools.combinations(texts, 2)]
    assert 0.3 < max(likeness) < CONFIG.threshold
    assert float(np.mean(likeness)) > 0.1


def test_planted_duplicates_are_found_and_nothing_else(planted: Planted, tmp_path: Path) -> None:
    """The bars are 0.95 and 0.99: edits of 1 to 20 % of the eojeol, other order, frames, cut ends."""
    found = drops(planted.documents, tmp_path)
    right = found.keys() & planted.copies.keys()
    missed = Counter(planted.copies[key][1] for key in planted.copies.keys() - right)
    assert len(planted.copies) > 500
    assert len(right) >= 0.95 * len(planted.copies), missed
    assert len(right) >= 0.99 * len(found)
    assert sum(found[key] == planted.copies[key][0] for key in right) >= 0.99 * len(right)


def test_the_order_of_adding_does_not_matter(planted: Planted, tmp_path: Path) -> None:
    shuffled = list(planted.documents.items())
    random.Random(1).shuffle(shuffled)
    assert drops(planted.documents, tmp_path / "a") == drops(dict(shuffled), tmp_path / "b")


def _signatures(part: list[tuple[int, str]]) -> list[tuple[int, np.ndarray]]:
    return [(key, signature(text, CONFIG)) for key, text in part]


def test_signatures_from_other_processes_give_the_same_result(planted: Planted, tmp_path: Path) -> None:
    items = list(planted.documents.items())
    found = NearDuplicates(CONFIG, tmp_path / "a")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for part in pool.map(_signatures, (items[::2], items[1::2])):
            for key, row in part:
                found.add_signature(key, row)
    assert list(found.duplicates()) == sorted(drops(planted.documents, tmp_path / "b"))


def test_the_first_of_a_cluster_is_kept_for_all_of_it(originals: list[str], tmp_path: Path) -> None:
    text = originals[0]
    chain = [text, edited(random.Random(1), text, 0.1, originals[1].split()), text + " 끝.", "\n" + text]
    assert drops(dict(zip((40, 10, 30, 20), chain, strict=True)), tmp_path) == {20: 10, 30: 10, 40: 10}


def test_short_texts_are_duplicates_only_when_their_words_are_the_same(tmp_path: Path) -> None:
    texts = {
        0: "3박4일 놀러가고 싶다. 여행은 언제나 좋죠.",
        1: "3박4일 정도 놀러가고 싶다. 여행은 언제나 좋죠.",
        2: "3박4일  놀러가고 싶다 - 여행은 언제나 좋죠!",
        3: "",
        4: " ",
    }
    assert drops(texts, tmp_path) == {2: 0}


def test_the_estimate_is_close_to_the_true_similarity(originals: list[str]) -> None:
    rng = random.Random(4)
    vocabulary = originals[1].split()
    errors = []
    for text in originals[:60]:
        other = edited(rng, text, rng.uniform(0, 0.4), vocabulary)
        errors.append(similarity(signature(text, CONFIG), signature(other, CONFIG)) - jaccard(text, other))
    assert abs(float(np.mean(errors))) < 0.02
    assert float(np.std(errors)) < 0.04  # 1/2 sqrt(256) is 0.031


@given(st.lists(st.sampled_from(["가나", "다라", "마바", "사아", "자차"]), max_size=40), st.sampled_from(" \n\t,.!"))
def test_punctuation_case_width_and_spaces_do_not_change_a_signature(tokens: list[str], gap: str) -> None:
    one = signature(" ".join(tokens) + " Abc 123", CONFIG)
    other = signature(f" {gap}".join(tokens) + f"{gap} ａＢｃ １２３", CONFIG)
    assert np.array_equal(one, other)


def test_a_bucket_of_any_size_is_handled(tmp_path: Path) -> None:
    texts = dict.fromkeys(range(3_000), "같은 문서가 아주 많이 있어도 " * 10)
    assert list(drops(texts, tmp_path)) == list(range(1, 3_000))


def test_disk_use_is_what_is_stated_and_bands_are_removed(planted: Planted, tmp_path: Path) -> None:
    drops(planted.documents, tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size == len(planted.documents) * (4 * (CONFIG.slots + 1) + 8)
    assert not list(NearDuplicates(CONFIG, tmp_path).duplicates())  # begun anew: what was there is gone


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match="no more rows than slots"):
        DedupConfig(rows=300)
    found = NearDuplicates(CONFIG, tmp_path)
    with pytest.raises(ValueError, match="256 slots"):
        found.add_signature(1, np.zeros(5, np.uint32))
    found.add(1, "하나")
    found.add(1, "둘")
    with pytest.raises(ValueError, match="added twice"):
        list(found.duplicates())
    (tmp_path / "file").write_text("x")
    with pytest.raises(DokjaError, match="file"):
        NearDuplicates(CONFIG, tmp_path / "file" / "inner")
