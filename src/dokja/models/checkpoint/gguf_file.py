"""GGUF files: one file with weights, metadata and tokenizer, read and written with the `gguf` package (an extra)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...errors import DokjaError
from ..decoder import Decoder
from ..families import FAMILIES
from ..model import Model
from ..rope import inverse_frequencies
from ..spec import Attention, Llama3, ModelSpec, Rope
from .draft import draft
from .gguf_layout import ARCHS, ROPE_FACTORS, Arch, arch_of, canonical, read_spec
from .gguf_tokens import read_tokenizer, tokenizer_metadata
from .layout import Place, places
from .published import empty, fit, materialise

_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def _package() -> ModuleType:
    try:
        import gguf
    except ImportError as error:
        raise DokjaError("GGUF files need the gguf package: pip install 'dokja[gguf]'") from error
    module: ModuleType = gguf
    return module


def read_gguf(path: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Model:
    """The model of a GGUF file; quantised tensors are read as the numbers they stand for.

    dtype: of the parameters; None is float32 for quantised files and the file's own else. An architecture that is not
    read, a tensor that is missing, unexpected or misshapen and a broken file raise DokjaError.
    """
    gguf = _package()
    try:
        reader = gguf.GGUFReader(path)
        data = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:  # the package raises whatever numpy does
        raise DokjaError(f"{path} is broken, no whole GGUF file ({str(error).partition(chr(10))[0]})") from error
    name = data.get("general.architecture")
    arch = next((arch for arch in ARCHS if arch.name == name), None)
    if arch is None:
        raise DokjaError(f"{path} holds the architecture {name!r}: read are {', '.join(arch.name for arch in ARCHS)}")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    spec = _spec(path, data, arch, tensors)
    model = empty(spec, str(path))
    table = gguf_places(model, arch)
    found = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in tensors.items()
             if name != ROPE_FACTORS and ".nextn." not in name and not _beyond(name, len(spec.layers))}
    fit(table, found, f"{path} does not fit its metadata")
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    own = [kind for kind, kind_name in _DTYPES.items() if kinds == {kind_name}]
    materialise(model, dtype or (own[0] if own else torch.float32), device)
    state = model.state_dict()
    for key in found:
        try:
            values = _numbers(gguf, tensors[key])
        except (NotImplementedError, ValueError) as error:
            raise DokjaError(f"the tensor {key} in {path} is {tensors[key].tensor_type.name}, which the gguf package "
                             f"does not read: {error}") from error
        table[key].read(state[table[key].ours], values - 1.0 if _shifted(key, arch) else values)
    stop = tuple(data[key] for key in ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id") if key in data)
    family = next((one for one in FAMILIES.values() for release in one.releases
                   if canonical(release.spec) == canonical(spec)), None)
    template = data.get("tokenizer.chat_template")
    files = {"chat_template.jinja": template.encode()} if isinstance(template, str) else {}
    return Model(model.eval(), read_tokenizer(data), family, files=files, stop=stop)


def _spec(path: Path, data: dict[str, Any], arch: Arch, tensors: dict[str, Any]) -> ModelSpec:
    fields = {name.removeprefix(f"{arch.name}."): value for name, value in data.items()}
    fields["name"] = data.get("general.name", arch.name)
    if "vocab_size" not in fields and "token_embd.weight" in tensors:
        fields["vocab_size"] = tensors["token_embd.weight"].shape[1]
    try:
        spec = read_spec(fields, arch, tied="output.weight" not in tensors)
    except KeyError as error:
        raise DokjaError(f"{path} lacks the metadata {arch.name}.{error.args[0]}") from error
    if ROPE_FACTORS in tensors:
        rope = next(layer.mixer.rope for layer in spec.layers if layer.mixer.rope)
        scaling = _llama3(torch.from_numpy(tensors[ROPE_FACTORS].data.copy()), rope)
        if scaling is None:
            raise DokjaError(f"{path} stretches positions by its tensor {ROPE_FACTORS} in a way that is not Llama 3's")
        spec = read_spec(fields, arch, tied=spec.tied, scaling=scaling)
    return spec


def _llama3(factors: Tensor, rope: Rope) -> Llama3 | None:
    """The scaling whose factors these are, with the two wave lengths that every published model has."""
    for original in (8192, 4096, 2048, 16384, 32768, 32, 64):
        scaling = Llama3(float(f"{factors.max().item():.7g}"), original)
        if torch.allclose(rope_factors(replace(rope, scaling=scaling), 2 * len(factors)), factors, rtol=1e-5):
            return scaling
    return None


def rope_factors(rope: Rope, dim: int) -> Tensor:
    """By what a scaling divides each frequency, [dim / 2]."""
    return inverse_frequencies(replace(rope, scaling=None), dim) / inverse_frequencies(rope, dim)


def _beyond(name: str, layers: int) -> bool:
    parts = name.split(".")
    return parts[0] == "blk" and parts[1].isdigit() and int(parts[1]) >= layers  # an MTP layer


def _numbers(gguf: ModuleType, tensor: Any) -> Tensor:
    shape = [int(size) for size in reversed(tensor.shape)]
    kind = tensor.tensor_type.name
    if kind in ("F32", "F16"):
        return torch.from_numpy(tensor.data.copy()).view(shape)
    if kind == "BF16":
        return torch.from_numpy(tensor.data.copy()).view(torch.bfloat16).view(shape)
    return torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type)).view(shape)


def _shifted(name: str, arch: Arch) -> bool:
    return arch.zero_centred and name.endswith("norm.weight")


def gguf_places(model: Decoder, arch: Arch, *, copies: bool = False) -> dict[str, Place]:
    """Every tensor of the trunk and its place in ours; copies: also the head that is only the embedding once more."""
    trunk = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("mtp.")}
    table = places(trunk, model.spec, arch.names)
    if copies and arch.own_head and model.spec.tied:
        table["output.weight"] = table["token_embd.weight"]
    if not arch.permuted:
        return table
    return {name: _permuted(place, model.spec) if name.partition(".attn_")[2][:2] in ("q.", "k.") else place
            for name, place in table.items()}


def _permuted(place: Place, spec: ModelSpec) -> Place:
    mixer = spec.layers[0].mixer
    assert isinstance(mixer, Attention)

    def view(whole: Tensor) -> Tensor:
        return place.view(whole).unflatten(0, (-1, 2, mixer.head_dim // 2)).transpose(1, 2)

    return replace(place, view=view)


def write_gguf(model: Model, path: Path) -> None:
    """Write a model as GGUF for llama.cpp, tensors in their own precision, norms and routers in float32.

    MTP layers are left out, with a warning. A spec that no architecture of llama.cpp computes raises DokjaError.
    """
    gguf = _package()
    spec, decoder = model.spec, model.decoder
    arch, data = arch_of(spec)
    if spec.mtp:
        warnings.warn(f"the MTP layers of {spec.name} are not written: llama.cpp's trunk does without", stacklevel=3)
    state, table = decoder.state_dict(), gguf_places(decoder, arch, copies=True)
    tokens = tokenizer_metadata(model.tokenizer, spec.vocab, model.stop) if model.tokenizer else \
        {"tokenizer.ggml.model": "none"}
    with draft(path, file=True) as file:
        writer = gguf.GGUFWriter(file, arch.name)
        writer.add_name(spec.name)
        for key, value in {f"{arch.name}.{key}": value for key, value in data.items()}.items():
            _add(writer, gguf, key, value)
        for key, value in tokens.items():
            _add(writer, gguf, key, value)
        if (factors := _factors(spec)) is not None:
            writer.add_tensor_info(ROPE_FACTORS, factors.shape, factors.numpy().dtype, factors.nbytes)
        for name, place in table.items():
            kind = _stored(name, place, state)
            writer.add_tensor_info(name, place.shape, _array(torch.empty(0, dtype=kind)).dtype,
                                   torch.Size(place.shape).numel() * kind.itemsize,
                                   raw_dtype=gguf.GGMLQuantizationType[_DTYPES[kind]])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors.numpy())
        for name, place in table.items():
            tensor = place.write(state[place.ours].detach().cpu()).to(_stored(name, place, state))
            writer.write_tensor_data(_array(tensor + 1.0 if _shifted(name, arch) else tensor))
        writer.close()


def _stored(name: str, place: Place, state: dict[str, Tensor]) -> torch.dtype:
    if len(place.shape) == 1 or name.endswith("ffn_gate_inp.weight"):
        return torch.float32
    dtype = state[place.ours].dtype
    return dtype if dtype in _DTYPES else torch.float32


def _array(tensor: Tensor) -> Any:
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _factors(spec: ModelSpec) -> Tensor | None:
    for layer in spec.layers:
        mixer = layer.mixer
        if isinstance(mixer, Attention) and mixer.rope and isinstance(mixer.rope.scaling, Llama3):
            return rope_factors(mixer.rope, mixer.head_dim).float()
    return None


def _add(writer: Any, gguf: ModuleType, key: str, value: Any) -> None:
    kinds = {bool: "BOOL", int: "UINT32", float: "FLOAT32", str: "STRING"}
    if isinstance(value, list):
        kind = "INT32" if key.endswith("token_type") else kinds[type(value[0])]
        writer.add_key_value(key, value, gguf.GGUFValueType.ARRAY, sub_type=gguf.GGUFValueType[kind])
    else:
        writer.add_key_value(key, value, gguf.GGUFValueType[kinds[type(value)]])
