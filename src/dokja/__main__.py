"""`python -m dokja`."""

from .cli import main

main()
