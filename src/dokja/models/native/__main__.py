"""`python -m dokja.models.native` builds the kernels and says what it did."""

from __future__ import annotations

import sys
import time

from .build import NoCompilerError, build, compiler


def main() -> int:
    start = time.perf_counter()
    try:
        path = build()
    except NoCompilerError as error:
        print(f"Native kernels not built, PyTorch's own operations will serve: {error}")
        return 0  # an installation without a compiler is complete, only slower
    print(f"Native kernels: {path} ({compiler()}, {time.perf_counter() - start:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
