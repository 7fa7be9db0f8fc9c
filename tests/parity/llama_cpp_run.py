"""Run by a Python that has llama.cpp: question on standard input, its logits and greedy tokens on the last line.

The question is JSON: file, ids, steps, context. Bindings: llama-cpp-py-sync or llama-cpp-python.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any


def bindings(file: str, context: int) -> tuple[Callable[[int, int], list[float]], int]:
    """A function that reads one token at a position and gives the logits after it."""
    try:
        from llama_cpp_py_sync import Llama, _cffi_bindings

        model = Llama(file, n_ctx=context, n_threads=1, n_gpu_layers=0)
        library, vocab = _cffi_bindings.get_lib(), model.n_vocab

        def after(token: int, position: int) -> list[float]:
            model._eval_tokens([token], position)
            row = library.llama_get_logits_ith(model._ctx, -1)
            return [row[i] for i in range(vocab)]
    except ImportError:
        import llama_cpp

        loaded: Any = llama_cpp.Llama(file, n_ctx=context, n_threads=1, verbose=False, logits_all=True)
        vocab = loaded.n_vocab()

        def after(token: int, position: int) -> list[float]:
            loaded.eval([token])
            return loaded.scores[position].tolist()
    return after, vocab


def main() -> None:
    asked = json.load(sys.stdin)
    after, vocab = bindings(asked["file"], asked["context"])
    rows = [after(token, position) for position, token in enumerate(asked["ids"])]
    last, greedy = rows[-1], []
    for step in range(asked["steps"]):
        greedy.append(max(range(vocab), key=last.__getitem__))
        last = after(greedy[-1], len(asked["ids"]) + step)
    print()
    print(json.dumps({"logits": rows, "greedy": greedy}))


if __name__ == "__main__":
    main()
