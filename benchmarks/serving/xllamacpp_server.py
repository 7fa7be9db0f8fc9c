"""llama.cpp's own server, out of xllamacpp: `python xllamacpp_server.py MODEL.gguf THREADS PORT`."""

from __future__ import annotations

import sys

import xllamacpp
from protocol import serve

SLOTS, CONTEXT = 32, 1536  # tokens of each


def main() -> None:
    options = xllamacpp.CommonParams()
    options.model.path = sys.argv[1]
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = int(sys.argv[2])
    options.port = int(sys.argv[3])
    options.n_parallel, options.n_ctx, options.n_gpu_layers = SLOTS, SLOTS * CONTEXT, 0
    options.swa_full = True  # else what a window has left behind cannot be reused by the next chat of a slot
    server = xllamacpp.Server(options)
    serve({"xllamacpp": xllamacpp.__version__, "features": str(xllamacpp.get_system_info()),
           "address": str(server.listening_address)}, {})


if __name__ == "__main__":
    main()
