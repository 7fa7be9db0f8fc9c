"""The generated text: the same everywhere, large word lists, right particles, true answers, few repeats."""

import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from importlib.resources import files
from itertools import islice
from random import Random

import pytest

from dokja.build.hangul import counting, decompose, is_syllable, sino
from dokja.build.korean import KINDS, document, documents, lexicon
from dokja.build.korean.compose import STORY_FILES, TEXT_FILES
from dokja.build.korean.conjugate import conjugate
from dokja.build.korean.frames import frame_set, register_of

SAMPLE = list(documents(7, 0, 2000))


def test_a_document_depends_on_seed_and_index_only():
    assert [document(7, index) for index in range(50)] == SAMPLE[:50]
    assert list(documents(7, 20, 25)) == SAMPLE[20:25]
    assert list(islice(documents(7), 3)) == SAMPLE[:3]
    assert document(8, 0) != document(7, 0)
    with pytest.raises(ValueError, match="negative"):
        document(7, -1)


def test_a_fresh_process_with_another_hash_seed_agrees():
    script = "from dokja.build.korean import documents; print([d.content for d in documents(7, 0, 40)])"
    environment = {**os.environ, "PYTHONHASHSEED": "4321", "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert run.stdout.decode().strip() == str([found.content for found in SAMPLE[:40]])


def test_kinds_and_shapes():
    counts = Counter(found.source.removeprefix("korean/") for found in SAMPLE)
    assert set(counts) == set(KINDS)
    for kind, share in KINDS.items():
        assert abs(counts[kind] / len(SAMPLE) - share / sum(KINDS.values())) < 0.04
    for found in SAMPLE:
        if found.turns:
            roles = [turn.role for turn in found.turns]
            assert roles == ["user", "assistant"] * (len(roles) // 2)
            assert 1 <= len(roles) // 2 <= 6
    lengths = sorted(len(found.text) for found in SAMPLE if found.text)
    assert lengths[0] >= 40
    assert lengths[-1] <= 1200


def test_word_lists_are_large_and_without_repeats():
    classes = {
        "nouns": [word for listed in lexicon.nouns().values() for word in listed],
        "verbs": list(lexicon.verbs()),
        "adjectives": list(lexicon.adjectives()),
        "adverbs": [word for listed in lexicon.adverbs().values() for word in listed],
        "given names": list(lexicon.names()["given"]),
        "places": [word for listed in lexicon.places().values() for word in listed],
    }
    for name, listed in classes.items():
        repeats = [word for word, count in Counter(listed).items() if count > 1]
        assert not repeats, name
        assert len(listed) >= (1500 if name == "nouns" else 300), name
    assert len(set(lexicon.names()["family"])) == len(lexicon.names()["family"]) >= 60


def _closed(word: str) -> bool:
    return bool(decompose(word[-1])[2])


def test_particles_agree_with_the_words_before_them():
    known = {word for listed in lexicon.nouns().values() for word in listed if len(word) > 1}
    known |= {word for listed in lexicon.places().values() for word in listed}
    known |= set(lexicon.names()["given"])
    # 이 and 은 alone are left out where a longer word may hold them (이 is also a suffix of names).
    after_closed = {"은", "을", "과", "이에요", "이라고", "이었다", "이었어요", "이었습니다"}
    after_open = {"는", "를", "와", "가", "예요", "라고", "였다", "였어요", "였습니다"}
    checked = 0
    for found in SAMPLE:
        for token in re.findall(r"[가-힣]+", found.content):
            for length in range(2, len(token)):
                noun, rest = token[:length], token[length:]
                if noun not in known or token in known:
                    continue
                if rest in after_closed:
                    assert _closed(noun), token
                    checked += 1
                elif rest in after_open:
                    assert not _closed(noun), token
                    checked += 1
                elif rest == "으로":
                    assert decompose(noun[-1])[2] not in ("", "ㄹ"), token
                    checked += 1
                elif rest == "로":
                    assert decompose(noun[-1])[2] in ("", "ㄹ"), token
                    checked += 1
    assert checked > 5000


def test_nothing_of_a_template_is_left_over():
    for found in SAMPLE:
        text = found.content
        assert unicodedata.normalize("NFC", text) == text
        assert not re.search(r"[{}\[\]|^~$#@]|//|  |\?\.|\.\.| [.,?!]", text), text
        assert all(is_syllable(char) or char in "\n .,?!\"':ㄹ" or char.isdigit() for char in text), text


def _facts(name: str) -> dict[str, list[set[str]]]:
    """Frame name to the slots of the first answer to each of its questions."""
    facts: dict[str, list[set[str]]] = {}
    asked = False
    for line in (files("dokja.build.korean") / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            slots = facts.setdefault(line[3:].partition("*")[0].strip(), [])
        elif line.startswith("Q: "):
            asked = True
        elif line.startswith("A: ") and asked:
            asked = False
            slots.append(set(re.findall(r"\{'?([a-z][a-z0-9.]*)", line)))
    return facts


def test_answers_are_in_their_texts():
    """Each fact that an answer names is in the text that was told, so that a reader can find it there."""
    for name in (*STORY_FILES, "notices.txt"):
        facts = _facts(name)
        for frame in frame_set(name).frames:
            assert len(frame.questions) >= 4, frame.name
            assert len(facts[frame.name]) == len(frame.questions)
            for trial in range(30):
                rng = Random(trial)
                ctx = frame.plan(rng)
                text = frame.tell(ctx, rng)
                for slots in facts[frame.name]:
                    for slot in slots:
                        said = str(ctx[slot]).strip()
                        if said in lexicon.verbs():
                            said = conjugate(lexicon.predicate(said), "았")  # what people did is told in the past
                        assert said in text or _spoken(said, text), (frame.name, slot, said, text)


def _spoken(said: str, text: str) -> bool:
    """Whether a number is in the text in figures or in words."""
    if not said.isdigit():
        return False
    number = int(said)
    high, low = divmod(number, 10_000)
    forms = {f"{number:,}", sino(number), f"{sino(high * 10_000)} {sino(low)}"}
    if number < 100:
        forms.add(counting(number))
    return any(form in text for form in forms)


def test_arithmetic_in_stories_is_true():
    for trial in range(300):
        rng = Random(trial)
        frame = next(f for f in frame_set("stories.txt").frames if f.name == "시장 심부름")
        ctx = frame.plan(rng)
        assert ctx["n"] * ctx["u"] == ctx["total"]
        assert ctx["m"] - ctx["total"] == ctx["left"] > 0


def test_documents_are_distinct():
    seen = {found.content for found in documents(11, 0, 8000)}
    assert len(seen) >= 8000 * 0.998


@pytest.mark.slow
def test_fifty_thousand_documents_are_distinct():
    seen = {hash(found.content) for found in documents(11, 0, 50_000)}
    assert len(seen) >= 50_000 * 0.999


def test_every_sentence_template_renders():
    """Every alternative of every frame in every register of the frame, with no word missing from the lists."""
    for names in TEXT_FILES.values():
        for frame in frame_set(*names).frames:
            for style in frame.styles:
                ctx = frame.plan(Random(1), style)
                for step in frame.steps:
                    for alternative in step.alternatives:
                        assert alternative(ctx, Random(2)).strip()


def test_every_row_of_the_tables_conjugates():
    for index in range(3000):
        assert document(99, index).content


def test_a_user_speaks_in_one_register():
    assert register_of("{x:은} 어디에 살아?") == "casual"
    assert register_of("{x:은} 어디에 사나요?") == "polite"
    assert register_of("그럼 {y:은}?") == ""


def test_the_assistant_says_who_it_is():
    answers = [
        found.turns[index + 1].content
        for found in documents(5, 0, 6000)
        for index, turn in enumerate(found.turns)
        if turn.role == "user" and re.search(r"(너는 누구야|당신은 누구예요|누구세요)\?", turn.content)
    ]
    assert len(answers) > 5
    assert all("독자 시즌" in answer for answer in answers)
