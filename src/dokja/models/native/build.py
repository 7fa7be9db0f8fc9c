"""Compile kernels with the system's C++ compiler, once per source, compiler and processor."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SOURCES = ("rows.cpp", "attention.cpp", "experts.cpp", "latent.cpp", "loss.cpp", "mlp.cpp", "muon.cpp", "router.cpp")
HEADERS = ("simd.h", "norm.h", "gemm.h")
HERE = Path(__file__).parent
# No -ffast-math: the exponential's rounding trick and infinities must survive.
BASE_FLAGS = ("-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-shared",
              "-w")
# The first set that compiles is taken: Clang on Arm knows only -mcpu, and some compilers have no OpenMP.
FLAG_SETS = (("-march=native", "-fopenmp"), ("-mcpu=native", "-fopenmp"), ("-march=native",), ("-mcpu=native",), ())


class NoCompilerError(RuntimeError):
    """There is no C++ compiler, or it cannot compile the kernels."""


def compiler() -> str | None:
    """Path of the C++ compiler: CXX, else the first of c++, g++ and clang++."""
    names = (os.environ["CXX"],) if os.environ.get("CXX") else ("c++", "g++", "clang++")
    return next((path for path in map(shutil.which, names) if path), None)


def _processor() -> str:
    """What -march=native depends on: a home shared by two machines must not share a build."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def cache_folder() -> Path:
    """Where builds are kept: DOKJA_CACHE, else ~/.cache/dokja, else (read-only home) the temporary folder."""
    home = os.environ.get("DOKJA_CACHE")
    temporary = Path(tempfile.gettempdir()) / f"dokja-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    for folder in (Path(home) if home else Path.home() / ".cache" / "dokja", temporary):
        try:
            (folder / "native").mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder / "native", os.W_OK):
            return folder / "native"
    raise NoCompilerError("no folder to build kernels in; set DOKJA_CACHE to a writable one")


@dataclass(frozen=True)
class KernelSet:
    """Sources that become one shared library.

    folder, sources: what is compiled. headers: everything else that it depends on, by path. signatures: argument types
    of each function, whose name in C begins with `dokja_` and whose result is an int. loss: what is slower without it.
    """

    folder: Path
    sources: tuple[str, ...]
    headers: tuple[Path, ...]
    signatures: Mapping[str, tuple[type, ...]]
    loss: str

    def build(self) -> Path:
        """The shared library, compiled if it is not there yet. DOKJA_MARCH compiles for another processor than this.

        Raises NoCompilerError.
        """
        found = compiler()
        if found is None:
            raise NoCompilerError("no C++ compiler (c++, g++ or clang++) is installed")
        try:
            version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoCompilerError(f"{found} --version fails") from error
        asked = os.environ.get("DOKJA_MARCH")
        flag_sets = ((f"-march={asked}", "-fopenmp"),) if asked else FLAG_SETS
        files = [self.folder / name for name in self.sources]
        parts = [version, _processor(), repr((BASE_FLAGS, flag_sets))]
        parts += [path.read_text(encoding="utf-8") for path in (*files, *self.headers)]
        target = cache_folder() / (hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24] + ".so")
        if target.exists():
            return target
        # Compiled beside the target and renamed, so that processes that build at once never load half a file.
        handle, name = tempfile.mkstemp(suffix=".so", dir=target.parent)
        os.close(handle)
        try:
            message = ""
            for flags in flag_sets:
                command = [found, *BASE_FLAGS, *flags, *map(str, files), "-o", name]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    os.replace(name, target)
                    return target
                message = message or done.stderr.strip()
            raise NoCompilerError(f"{found} cannot compile the kernels: {message[:500]}")
        finally:
            Path(name).unlink(missing_ok=True)

    def load(self) -> ctypes.CDLL | None:
        """The loaded kernels; None, with a warning, when they cannot be built, and None silently under
        DOKJA_NATIVE=0."""
        if os.environ.get("DOKJA_NATIVE", "1") == "0":
            return None
        try:
            loaded = ctypes.CDLL(str(self.build()))
        except (NoCompilerError, OSError) as error:
            warnings.warn(f"native kernels are off, {self.loss} on CPU will be slower: {error}", stacklevel=3)
            return None
        for name, arguments in self.signatures.items():
            function = getattr(loaded, f"dokja_{name}")
            function.argtypes, function.restype = arguments, ctypes.c_int
        return loaded

    def install(self) -> None:
        """Build, and say on the terminal what came of it; an installation without a compiler is complete, only slower.
        """
        start = time.perf_counter()
        try:
            path = self.build()
        except NoCompilerError as error:
            print(f"Native kernels not built, PyTorch's own operations will serve: {error}")
        else:
            print(f"Native kernels of {self.loss}: {path} ({compiler()}, {time.perf_counter() - start:.1f} s)")


_P, _I, _N, _F = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float
SIGNATURES: dict[str, tuple[type, ...]] = {
    "rms_norm": (_P, _I, _I, _I, _I, _I, _P, _F, _F, _P, _P, _N),
    "rms_norm_backward": (_P, _I, _I, _I, _I, _I, _P, _F, _P, _P, _P, _P, _N),
    "join": (_I, _I) + (_P,) * 8 + (_N,),
    "join_backward": (_I, _I) + (_P,) * 11 + (_N,),
    "swiglu": (_P, _I, _I, _P, _N),
    "swiglu_backward": (_P, _P, _I, _I, _P, _N),
    "rotate": (_P, _I, _I, _I, _I, _I, _I, _I, _P, _P, _I, _N, _N, _F, _P, _I, _N),
    "cross_entropy": (_P, _P, _P, _P, _P, _F, _F, _N, _P, _P, _P, _N),
    "attention": (_P, _F, _P, _P, _P, _P, _P, _P, _N),
    "attention_backward": (_P, _F) + (_P,) * 11 + (_N,),
    "latent": (_P,) * 8 + (_N,),
    "latent_backward": (_P,) * 10 + (_N,),
    "gated_mlp": (_P,) * 6 + (_N,),
    "gated_mlp_backward": (_P,) * 9 + (_N,),
    "muon": (_P, _I, _F, _F, _F, _N),
    "experts": (_P,) * 10 + (_N,),
    "experts_backward": (_P,) * 13 + (_N,),
    "router": (_P,) * 4 + (_F,) + (_P,) * 5 + (_N,),
    "router_backward": (_P,) * 3 + (_F,) + (_P,) * 7 + (_N,),
}


KERNELS = KernelSet(HERE, SOURCES, tuple(HERE / name for name in HEADERS), SIGNATURES, "training")


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The loaded kernels, with one warning where there are none (`KernelSet.load`)."""
    return KERNELS.load()
