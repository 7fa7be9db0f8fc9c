"""`python -m dokja.serve.native` builds the kernels and says what it did."""

from . import KERNELS

KERNELS.install()
