"""`python -m dokja.models.native` builds the kernels and says what it did."""

from .build import KERNELS

KERNELS.install()
