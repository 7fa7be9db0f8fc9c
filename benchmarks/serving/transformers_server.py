"""transformers serve with continuous batching: `python transformers_server.py FOLDER THREADS PORT`."""

from __future__ import annotations

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from protocol import serve
from transformers.cli.serve import Serve


def main() -> None:
    folder, threads, port = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    Serve(folder, continuous_batching=True, device="cpu", dtype="float32", host="127.0.0.1", port=int(port),
          cb_max_memory_percent=0.25, non_blocking=True)
    serve({"transformers": transformers.__version__, "torch": torch.__version__}, {})


if __name__ == "__main__":
    main()
