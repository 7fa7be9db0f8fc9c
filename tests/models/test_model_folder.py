"""A model folder gives back what was put in, or says in one sentence why it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pocket import NAMES, pocket_spec, random_ids
from safetensors.torch import load_file, save_file

from dokja.build.document import Document
from dokja.build.tokenizer import train_tokenizer
from dokja.errors import DokjaError
from dokja.models.checkpoint.kept import TOKENIZER
from dokja.models.codec import Codec
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.folder import CARD, SPEC, WEIGHTS, load_folder, save_folder
from dokja.models.init import initialise

CARD_OF_TEST = {"team": "시험", "stage": 2, "score": 0.1}


def make(path: Path, name: str = "k-exaone", *, tied: bool = False) -> tuple[Decoder, Codec]:
    """A pocket model of a family, saved."""
    codec = train_tokenizer([Document("test", text="안녕하세요? 반갑습니다.")], 400, family(name).chat, max_bytes=10**5)
    model = Decoder(replace(pocket_spec(name, vocab=codec.vocab), tied=tied))
    initialise(model, 1)
    for module in model.buffers():
        module.uniform_(-1, 1)
    save_folder(path, model, codec, {**CARD_OF_TEST, "family": name})
    return model, codec


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_gives_back_the_same_bits(tmp_path: Path, name: str, tied: bool) -> None:
    model, codec = make(tmp_path / "m", name, tied=tied)
    loaded = load_folder(tmp_path / "m")
    assert loaded.decoder.spec == model.spec
    assert not loaded.decoder.training
    assert loaded.family is not None
    assert loaded.family.name == name
    assert loaded.card == {**CARD_OF_TEST, "family": name}
    found, expected = loaded.decoder.state_dict(), model.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[at], expected[at]) and found[at].dtype == expected[at].dtype for at in expected)
    assert (loaded.decoder.head.weight is loaded.decoder.embedding.weight) is tied
    assert loaded.codec.encode("안녕 친구") == codec.encode("안녕 친구")
    ids = random_ids(0, 1, 20, vocab=codec.vocab)
    with torch.inference_mode():
        assert torch.equal(loaded.decoder(ids), model.eval()(ids))


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    make(tmp_path / "m", "solar-open")
    make(tmp_path / "m", "vaetki")
    assert load_folder(tmp_path / "m").card["family"] == "vaetki"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert {path.name for path in (tmp_path / "m").iterdir()} == {WEIGHTS, SPEC, TOKENIZER, CARD}


def test_a_folder_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    model, codec = make(tmp_path / "m")
    with pytest.raises(TypeError):
        save_folder(tmp_path / "m", model, codec, {"family": "k-exaone", "score": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert load_folder(tmp_path / "m").card["team"] == "시험"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return apply


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        state = load_file(path)
        change(state)
        save_file(state, path)
    return apply


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no weights": (WEIGHTS, Path.unlink, WEIGHTS),
    "no spec": (SPEC, Path.unlink, SPEC),
    "no tokenizer": (TOKENIZER, Path.unlink, TOKENIZER),
    "no card": (CARD, Path.unlink, CARD),
    "truncated weights": (WEIGHTS, truncate, "broken"),
    "empty weights": (WEIGHTS, lambda path: path.write_bytes(b""), "broken"),
    "text for weights": (WEIGHTS, lambda path: path.write_text("안녕 " * 100), "broken"),
    "truncated spec": (SPEC, truncate, "broken"),
    "truncated card": (CARD, truncate, "broken"),
    "truncated tokenizer": (TOKENIZER, truncate, "tokenizer"),
    "a spec that is a list": (SPEC, edit(lambda spec: [spec]), "broken"),
    "a card that is a list": (CARD, edit(lambda card: [card]), "card"),
    "a card without family": (CARD, edit(lambda card: {"team": "?"}), "unknown team"),
    "a family that is a list": (CARD, edit(lambda card: {"family": ["k-exaone"]}), "unknown team"),
    "another family": (CARD, edit(lambda card: {**card, "family": "vaetki"}), "special token"),
    "an unknown field": (SPEC, edit(lambda spec: {**spec, "colour": 1}), "colour"),
    "a spec without width": (SPEC, edit(lambda spec: {k: v for k, v in spec.items() if k != "width"}), "width"),
    "a width in words": (SPEC, edit(lambda spec: {**spec, "width": "wide"}), "spec"),
    "a negative width": (SPEC, edit(lambda spec: {**spec, "width": -1}), "spec"),
    "another width": (SPEC, edit(lambda spec: {**spec, "width": 8}), "fit its spec"),
    "no layers": (SPEC, edit(lambda spec: {**spec, "layers": []}), "unexpected"),
    "a missing tensor": (WEIGHTS, weights(lambda state: state.pop("norm.weight")), r"norm\.weight"),
    "one tensor more": (WEIGHTS, weights(lambda state: state.update(x=torch.ones(1))), "unexpected"),
    "a misshapen tensor": (WEIGHTS, weights(lambda state: state.update({"norm.weight": torch.ones(3)})), "norm"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_in_one_sentence(tmp_path: Path, damage: str) -> None:
    make(tmp_path / "m")
    name, harm, word = DAMAGE[damage]
    harm(tmp_path / "m" / name)
    with pytest.raises(DokjaError, match=word) as failure:
        load_folder(tmp_path / "m")
    assert "\n" not in str(failure.value)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    _, codec = make(tmp_path / "m")
    codec.tokenizer.add_tokens(["낱말하나", "낱말둘"])
    codec.tokenizer.save(str(tmp_path / "m" / TOKENIZER))
    with pytest.raises(DokjaError, match="tokens"):
        load_folder(tmp_path / "m")


def test_no_folder_at_all_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match="not a model folder"):
        load_folder(tmp_path / "nowhere")
