"""GGUF: what is written is read back the same, and llama.cpp computes from it what we do.

The second needs llama.cpp: the variable LLAMA_CPP_PYTHON names a Python that has llama-cpp-py-sync or
llama-cpp-python (this one if it is unset).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import dokja
from dokja.errors import DokjaError
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.models.generate import Sampling, generate
from dokja.models.init import initialise
from dokja.models.spec import (
    MLP,
    PERI,
    POST,
    Attention,
    LatentAttention,
    Layer,
    Linear,
    Llama3,
    ModelSpec,
    MoE,
    Rope,
    Router,
    Yarn,
)

gguf = pytest.importorskip("gguf")
from dokja.models.checkpoint.gguf_layout import arch_of, canonical  # noqa: E402

VOCAB, STEPS = 320, 24
ROPE = Rope(1e4)
MOE = MoE(8, 2, 32, 1, Router(scale=2.5))


def attention(**more: object) -> Attention:
    return Attention(**{"heads": 4, "kv_heads": 2, "head_dim": 16, "rope": ROPE, **more})  # type: ignore[arg-type]


def local_and_global(depth: int, period: int, **more: object) -> list[Attention]:
    """A window of 8 with positions in all but every `period`-th layer, which has neither."""
    return [attention(**more, **({"window": 8} if (i + 1) % period else {"rope": None})) for i in range(depth)]


def latent(q_rank: int | None, **rope: object) -> LatentAttention:
    return LatentAttention(4, q_rank, 32, 16, 8, 16, Rope(1e4, layout="interleaved", **rope))  # type: ignore[arg-type]


def model(layers: Sequence[Layer], **more: object) -> ModelSpec:
    return ModelSpec("tiny", VOCAB, 64, tuple(layers), 128, **more)  # type: ignore[arg-type]


def dense_first(mixers: Sequence[Attention | LatentAttention], moe: MoE) -> list[Layer]:
    return [Layer(mixer, moe if i else MLP(96)) for i, mixer in enumerate(mixers)]


MLP_ = MLP(96)
SPECS = {
    "llama": model([Layer(attention(), MLP_)] * 2),
    "llama, wide heads": model([Layer(attention(head_dim=32), MLP_)] * 2),
    "llama, tied, llama3": model([Layer(attention(rope=Rope(5e5, scaling=Llama3(8.0, 32))), MLP_)] * 2, tied=True),
    "llama, linear": model([Layer(attention(rope=Rope(1e4, scaling=Linear(4.0))), MLP_)] * 2),
    "qwen2": model([Layer(attention(bias=True), MLP_)] * 2),
    "qwen3": model([Layer(attention(qk_norm=True), MLP_)] * 2),
    "qwen3moe": model([Layer(attention(qk_norm=True), MoE(8, 2, 32, 0, Router(bias=False, score="softmax")))] * 2),
    "exaone4": model([Layer(attention(qk_norm=True), MLP_, POST)] * 3),
    "exaone4, windows": model([Layer(mixer, MLP(32), POST) for mixer in local_and_global(64, 4, qk_norm=True)]),
    "exaone-moe": model(dense_first(local_and_global(5, 4, qk_norm=True), MOE)),
    "exaone-moe, tied, groups": model(
        dense_first(local_and_global(3, 2, qk_norm=True), replace(MOE, router=Router(groups=4, groups_kept=2))),
        tied=True),
    "glm4moe": model(dense_first([attention()] * 3, MOE)),
    "glm4moe, yarn": model([Layer(attention(rope=Rope(1e4, scaling=Yarn(4.0, 32))), MOE)] * 2),
    "deepseek2": model(dense_first([latent(32)] * 3, MOE)),
    "deepseek2, lite, yarn": model(dense_first([latent(None, scaling=Yarn(4.0, 32, mscale_all_dim=1.0))] * 27, MOE)),
    "gemma3": model([Layer(attention(qk_norm=True, **({"window": 8} if i < 5 else {"rope": Rope(1e6)})),
                           MLP(96, activation="gelu_tanh"), PERI) for i in range(6)],
                    norm_zero_centred=True, tied=True, embedding_scale=8.0),
}


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(["안녕하세요? 반갑습니다. hello world"] * 3, trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return made


def written(path: Path, spec: ModelSpec) -> dokja.Model:
    """A model with weights of which none is neutral and no two tokens are nearly as likely, written to a file."""
    decoder = Decoder(spec)
    initialise(decoder, 1)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in decoder.state_dict(keep_vars=True).items():
            if tensor.ndim == 1:
                tensor.add_(0.6 * torch.rand(tensor.shape, generator=draws) - 0.3)
            elif name.endswith("router.weight"):
                tensor.mul_(3)
        (decoder.norm if spec.tied else decoder.head).weight.mul_(2 if spec.tied else 6)
    made = dokja.Model(decoder.eval(), tokenizer(), stop=(0,))
    dokja.save(made, path, "gguf")
    return made


@pytest.mark.parametrize("name", SPECS)
def test_a_file_gives_back_the_model(tmp_path: Path, name: str) -> None:
    made = written(tmp_path / "m.gguf", SPECS[name])
    back = dokja.load(tmp_path / "m.gguf")
    assert gguf.GGUFReader(tmp_path / "m.gguf").fields["general.architecture"].contents() == name.split(",")[0]
    assert back.stop == (0,)
    assert back.tokenizer is not None
    assert back.tokenizer.encode("안녕 world").ids == tokenizer().encode("안녕 world").ids
    assert back.spec.tied is (made.spec.tied and name != "exaone-moe, tied, groups")  # which stores the table twice
    assert canonical(replace(back.spec, tied=made.spec.tied)) == canonical(made.spec)
    found, expected = back.decoder.state_dict(), made.decoder.state_dict()
    assert list(found) == list(expected)
    for at, tensor in expected.items():  # norms are stored as 1 + w where they act so
        torch.testing.assert_close(found[at], tensor, rtol=0, atol=1e-7 if made.spec.norm_zero_centred else 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    decoder = Decoder(SPECS["llama"])
    initialise(decoder, 1)
    decoder.to(dtype)
    dokja.save(dokja.Model(decoder), tmp_path / "m.gguf", "gguf")
    back = dokja.load(tmp_path / "m.gguf")
    assert back.tokenizer is None
    for name, tensor in decoder.state_dict().items():
        assert torch.equal(back.decoder.state_dict()[name], tensor), name
    assert dokja.load(tmp_path / "m.gguf", dtype="float32").decoder.embedding.weight.dtype == torch.float32


def test_what_llama_cpp_does_not_compute_is_refused(tmp_path: Path) -> None:
    odd = {"a residual multiplier": replace(SPECS["llama"], residual_scale=0.5),
           "windows where they are not heeded": replace(SPECS["exaone4, windows"],
                                                        layers=SPECS["exaone4, windows"].layers[:8]),
           "another window in llama": model([Layer(attention(window=8), MLP_)]),
           "a bias where heads are wider than the model": model([Layer(attention(bias=True, head_dim=32), MLP_)])}
    for spec in odd.values():
        with pytest.raises(DokjaError, match="no architecture that computes") as failure:
            dokja.save(dokja.Model(Decoder(spec)), tmp_path / "m.gguf", "gguf")
        assert "exaone-moe" in str(failure.value)
    assert not list(tmp_path.iterdir())


def test_broken_files_are_told(tmp_path: Path) -> None:
    written(tmp_path / "m.gguf", SPECS["llama"])
    whole = (tmp_path / "m.gguf").read_bytes()
    for content in (b"", b"GGUF", whole[:1000], whole[:-5000], b"PK\x03\x04" * 99):
        (tmp_path / "x.gguf").write_bytes(content)
        with pytest.raises(DokjaError, match=r"x\.gguf") as failure:
            dokja.load(tmp_path / "x.gguf")
        assert "\n" not in str(failure.value)
    kind = b"general.architecture" + (8).to_bytes(4, "little") + (5).to_bytes(8, "little")  # a string of five
    (tmp_path / "x.gguf").write_bytes(whole.replace(kind + b"llama", kind + b"rwkv7"))
    with pytest.raises(DokjaError, match=r"'rwkv7': read are llama"):
        dokja.load(tmp_path / "x.gguf")
    (tmp_path / "x.gguf").write_bytes(whole.replace(b"output_norm.weight", b"output_nerm.weight"))
    with pytest.raises(DokjaError, match=r"1 missing \(output_norm.weight\); 1 unexpected \(output_nerm.weight\)"):
        dokja.load(tmp_path / "x.gguf")


EXPECTED = {
    "k-exaone-236b-a23b": "exaone-moe", "exaone-4.0-32b": "exaone4", "solar-open-102b-a12b": "glm4moe",
    "midm-2-base-11.5b": "llama", "gemma-3-270m": "gemma3", "qwen3-235b-a22b": "qwen3moe",
    "a.x-k1-519b-a33b": None, "vaetki-112b-a10b": None, "hyperclova-x-seed-think-14b": None, "kogpt-6b": None,
}


def test_which_releases_can_be_written() -> None:
    """Names of architectures are llama.cpp's for these models; the others have no architecture there."""
    found = {}
    for family in FAMILIES.values():
        for release in family.releases:
            try:
                found[release.spec.name] = arch_of(release.spec)[0].name
            except DokjaError:
                found[release.spec.name] = None
    assert found.items() >= EXPECTED.items()


@pytest.fixture(scope="module")
def llama_cpp() -> str:
    """A Python with llama.cpp."""
    python = os.environ.get("LLAMA_CPP_PYTHON", sys.executable)
    found = subprocess.run([python, "-c", "try:\n import llama_cpp_py_sync as a; a._cffi_bindings.get_lib()\n"
                            "except ImportError:\n import llama_cpp"], capture_output=True, text=True, timeout=60)
    if found.returncode:
        pytest.skip(f"no llama.cpp in {python}: {found.stderr.strip().splitlines()[-1]}")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_llama_cpp_writes_the_same_tokens(tmp_path: Path, llama_cpp: str, name: str) -> None:
    made = written(tmp_path / "m.gguf", SPECS[name])
    ids = torch.randint(1, VOCAB, (1, 24), generator=torch.Generator().manual_seed(6))
    ours = generate(made.decoder, ids.tolist(), Sampling(STEPS))[0]
    with torch.inference_mode():
        logits = made.decoder(ids)[0]
    asked = {"file": str(tmp_path / "m.gguf"), "ids": ids[0].tolist(), "steps": STEPS, "context": 128}
    done = subprocess.run([llama_cpp, str(Path(__file__).parent / "llama_cpp_run.py")], input=json.dumps(asked),
                          capture_output=True, text=True, timeout=300, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert theirs["greedy"] == ours
    # llama.cpp keeps keys and values in 16 bits. The seed is one where no two experts are within that of each other.
    assert (torch.tensor(theirs["logits"]) - logits).abs().max() < 1e-2 * logits.abs().max()
