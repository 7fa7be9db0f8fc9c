"""One function that writes a model for others to read, or for Dokja."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import DokjaError
from .checkpoint import llama
from .checkpoint.draft import draft
from .checkpoint.kept import CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG
from .checkpoint.layout import Checkpoint, Config, places
from .checkpoint.multimodal import text_config
from .checkpoint.published import read_spec, write_published
from .checkpoint.shards import SHARD_BYTES
from .codec import END_OF_TEXT
from .families import ChatFormat, checkpoint_of
from .folder import CARD, write_folder
from .loading import same
from .model import Model


def save(model: Model, path: str | Path, layout: Literal["hf", "dokja", "gguf"] = "hf", *,
         shard_bytes: int = SHARD_BYTES) -> None:
    """Write a model where nothing is yet; whole, or not at all.

    layout: "hf" is a published folder, with config.json, tokenizer and generation files as they came, that
    transformers, vLLM and others load; "dokja" keeps the spec, the card and the same files; "gguf" is one file for
    llama.cpp. shard_bytes: the largest shard of "hf". What the layout cannot say raises DokjaError.
    """
    path = Path(path).expanduser()
    if layout == "hf":
        _write_hf(model, path, shard_bytes)
    elif layout == "dokja":
        # The family's name is in the card, where a model folder has it.
        card = {"family": model.family.name if model.family else None, **model.card}
        write_folder(path, replace(model, card=card))
    elif layout == "gguf":
        from .checkpoint.gguf_file import write_gguf

        write_gguf(model, path)
    else:
        raise DokjaError(f"unknown layout {layout!r}: choose from hf, dokja, gguf")


def _write_hf(model: Model, path: Path, shard_bytes: int) -> None:
    layout, config = _config(model)
    with draft(path) as folder:
        write_published(folder, model.decoder, layout, config=config, shard_bytes=shard_bytes)
        for name, content in (_tokenizer_files(model) | dict(model.files)).items():
            if name != CONFIG:
                (folder / name).write_bytes(content)
        if model.card:
            (folder / CARD).write_text(json.dumps(model.card, ensure_ascii=False, indent=1), encoding="utf-8")


def _config(model: Model) -> tuple[Checkpoint, bytes]:
    """The layout that a model is written in, and its config.json: the one it came with if that still describes it."""
    spec, dtype = model.spec, str(model.decoder.embedding.weight.dtype).removeprefix("torch.")
    if CONFIG in model.files:
        came: Config = json.loads(model.files[CONFIG])
        kept = text_config(came)
        layout = checkpoint_of(kept)
        names = places(model.decoder.state_dict(), spec, layout.names)
        # Where it still has a text_config it also promises a vision tower, which is not written.
        if "text_config" not in kept and same(read_spec(layout, kept, names, Path(CONFIG)), spec):
            key = "torch_dtype" if "torch_dtype" in kept else "dtype"
            if kept is came and kept.get(key) == dtype and "quantization_config" not in kept:
                return layout, model.files[CONFIG]
            kept.pop("quantization_config", None)  # what is written is not quantised
            return layout, _json({**kept, key: dtype})
    else:
        found = model.family.checkpoint if model.family else llama.CHECKPOINT
        if found is None:
            raise DokjaError(f"no public class reads the family of {spec.name}: save it with layout='dokja'")
        layout = found
    config: Config = {"model_type": layout.model_types[0], "architectures": [layout.architecture], "dtype": dtype,
                      **_special_ids(model), **layout.write(spec)}
    try:
        back = read_spec(layout, config, places(model.decoder.state_dict(), spec, layout.names), Path(CONFIG))
    except KeyError as error:
        raise DokjaError(f"{layout.architecture} has no tensor {error}, which {spec.name} needs: save it with "
                         "layout='dokja'") from error
    if not same(back, spec):
        raise DokjaError(f"the config.json of {layout.architecture} cannot say all of {spec.name}'s architecture: save "
                         "it with layout='dokja'")
    return layout, _json(config)


def _special_ids(model: Model) -> Config:
    """The ids of a model that was trained here; the classes' own defaults belong to another vocabulary."""
    end = model.tokenizer.token_to_id(END_OF_TEXT) if model.tokenizer else None
    stop = list(model.stop) or None
    return {"bos_token_id": end, "pad_token_id": end, "eos_token_id": stop}


def _tokenizer_files(model: Model) -> dict[str, bytes]:
    """Tokenizer and generation settings of a model that came without such files."""
    if model.tokenizer is None or TOKENIZER_CONFIG in model.files:
        return {}
    files = {TOKENIZER: model.tokenizer.to_str(pretty=True).encode()}
    settings: Config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.spec.context,
                        "clean_up_tokenization_spaces": False}
    if model.tokenizer.token_to_id(END_OF_TEXT) is not None:
        settings |= dict.fromkeys(("bos_token", "eos_token", "pad_token"), END_OF_TEXT)
        if model.family:
            settings["chat_template"] = chat_template(model.family.chat)
    files[TOKENIZER_CONFIG] = _json(settings)
    files[GENERATION] = _json({key: value for key, value in _special_ids(model).items() if value is not None})
    return files


def chat_template(chat: ChatFormat) -> str:
    """The turns of a model that was trained here, as the Jinja text that transformers and vLLM read."""
    def turn(role: str) -> str:
        opening, rest = json.dumps(chat.opening(role)), json.dumps(chat.end + chat.between)
        return f"{{{{ {opening} + message['content'] + {rest} }}}}"

    return (f"{{{{ {json.dumps(END_OF_TEXT)} }}}}{{% for message in messages %}}"
            f"{{% if message['role'] == 'assistant' %}}{turn('assistant')}{{% else %}}{turn('user')}{{% endif %}}"
            f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ {json.dumps(chat.opening('assistant'))} }}}}"
            f"{{% endif %}}")


def _json(fields: Config) -> bytes:
    return json.dumps(fields, ensure_ascii=False, indent=1).encode()
