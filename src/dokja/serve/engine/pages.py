"""Who holds which page of the cache: bookkeeping alone, no tensor (those are in `paged.py`).

A page is PAGE positions of all layers of one attention kind. Each kind has its own pool and its own page tables: a
layer with a window gives back the pages behind it while the request runs, whatever other kinds must keep. Full pages
are found again by what they hold: a hash chain over token ids (vLLM's automatic prefix caching), so that requests
which begin alike share them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import prod

import numpy as np
import numpy.typing as npt

from ...models.spec import Attention, Mixer, ModelSpec

PAGE = 16  # positions


@dataclass(frozen=True)
class Kind:
    """Layers that keep the same numbers of the same positions.

    window: as in the spec; shapes: what one position has in each tensor of a layer; layers: their numbers, MTP layers
    counted on after the trunk's.
    """

    window: int | None
    shapes: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]

    @property
    def page_values(self) -> int:
        """Numbers in one page."""
        return PAGE * len(self.layers) * sum(prod(shape) for shape in self.shapes)

    def pages_of(self, tokens: int, step: int) -> int:
        """The most pages that a sequence of `tokens` ever holds when it grows by at most `step` at a time."""
        whole = -(-tokens // PAGE)
        # A window and a step reach over one page more than they fill, at either end.
        return whole if self.window is None else min(whole, (self.window + step - 2) // PAGE + 2)


def entry_shapes(mixer: Mixer) -> tuple[tuple[int, ...], ...]:
    """What a layer keeps of one position: key and value heads; or latent and shared key, and an indexer's key."""
    if isinstance(mixer, Attention):
        return ((mixer.kv_heads, mixer.head_dim),) * 2
    joined = (1, mixer.kv_rank + mixer.rope_dim)
    return (joined, (1, mixer.indexer.dim)) if mixer.indexer else (joined,)


def kinds_of(spec: ModelSpec, *, mtp: bool = False) -> list[Kind]:
    """The attention kinds of a model, with its MTP layers or without, in the order of their first layers."""
    found: dict[tuple[int | None, tuple[tuple[int, ...], ...]], list[int]] = {}
    for number, layer in enumerate((*spec.layers, *(spec.mtp if mtp else ()))):
        window = layer.mixer.window
        reach = None if window is None or window >= spec.context else window
        found.setdefault((reach, entry_shapes(layer.mixer)), []).append(number)
    return [Kind(window, shapes, tuple(layers)) for (window, shapes), layers in found.items()]


def extend_keys(keys: list[bytes], tokens: Sequence[int], salt: str) -> None:
    """Append the keys of full pages of `tokens` that `keys` lacks; each names all tokens up to its page's end."""
    before = keys[-1] if keys else hashlib.blake2b(salt.encode(), digest_size=16).digest()
    for page in range(len(keys), len(tokens) // PAGE):
        held = np.asarray(tokens[page * PAGE : (page + 1) * PAGE], dtype=np.int64)
        before = hashlib.blake2b(before + held.tobytes(), digest_size=16).digest()
        keys.append(before)


class Pool:
    """The pages of one kind: free, in use by one or several sequences, or kept for whoever begins alike."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self._free = list(range(pages - 1, -1, -1))
        self._users = [0] * pages
        self._key: list[bytes | None] = [None] * pages
        self._found: dict[bytes, int] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()  # without users, the longest unused first

    @property
    def available(self) -> int:
        return len(self._free) + len(self._kept)

    def take(self) -> int:
        """A page for one user; one that was kept gives way when none is free."""
        if self._free:
            page = self._free.pop()
        else:
            page, _ = self._kept.popitem(last=False)
            self._forget(page)
        self._users[page] = 1
        return page

    def share(self, page: int) -> None:
        """One more user."""
        self._kept.pop(page, None)
        self._users[page] += 1

    def release(self, page: int) -> None:
        """One user less; the last one leaves it free, or kept if it can be found again."""
        self._users[page] -= 1
        if self._users[page] == 0:
            if self._key[page] is None:
                self._free.append(page)
            else:
                self._kept[page] = None

    def publish(self, page: int, key: bytes) -> None:
        """Let a full page be found, unless another holds the same."""
        if key not in self._found and self._key[page] is None:
            self._found[key], self._key[page] = page, key

    def find(self, key: bytes) -> int | None:
        return self._found.get(key)

    def clear(self) -> None:
        """Forget what pages hold; those in use stay in use."""
        for page in list(self._found.values()):
            self._forget(page)
        self._free.extend(reversed(self._kept))
        self._kept.clear()

    def _forget(self, page: int) -> None:
        key = self._key[page]
        if key is not None:
            del self._found[key]
            self._key[page] = None


class Pages:
    """The pages of sequences, each at a row of the tables, over all kinds.

    tables: a kind's [rows, context / PAGE] of page numbers by a position's page, -1 where none is held.
    """

    def __init__(self, kinds: Sequence[Kind], totals: Sequence[int], rows: int, context: int) -> None:
        self.kinds = list(kinds)
        self.pools = [Pool(total) for total in totals]
        width = -(-context // PAGE)
        self.tables: list[npt.NDArray[np.int32]] = [np.full((rows, width), -1, dtype=np.int32) for _ in kinds]
        self._first = [[0] * rows for _ in kinds]  # by kind; pages first..end are held
        self._end = [0] * rows
        self._published = [0] * rows

    @property
    def total(self) -> int:
        return sum(pool.pages for pool in self.pools)

    @property
    def free(self) -> int:
        """Pages without a user."""
        return sum(pool.available for pool in self.pools)

    @property
    def values(self) -> int:
        """Numbers in pages that have a user."""
        return sum((pool.pages - pool.available) * kind.page_values
                   for pool, kind in zip(self.pools, self.kinds, strict=True))

    def has_room(self, row: int, tokens: int, step: int) -> bool:
        """Whether a row could grow to `tokens`, by at most `step` at a time, with what it holds and what is free."""
        held = (self._end[row] - first[row] for first in self._first)
        return all(kind.pages_of(tokens, step) - own <= pool.available
                   for kind, pool, own in zip(self.kinds, self.pools, held, strict=True))

    def reserve(self, row: int, tokens: int) -> bool:
        """Take pages for positions below `tokens`; where a kind has too few, none is taken and the answer is False."""
        held, end = self._end[row], -(-tokens // PAGE)
        if end <= held:
            return True
        if any(end - held > pool.available for pool in self.pools):
            return False
        for table, pool in zip(self.tables, self.pools, strict=True):
            for page in range(held, end):
                table[row, page] = pool.take()
        self._end[row] = end
        return True

    def trim(self, row: int, position: int) -> None:
        """Give back the pages that a query at `position` and those after it do not see."""
        for table, first, kind, pool in zip(self.tables, self._first, self.kinds, self.pools, strict=True):
            if (seen := _first_page(kind, position)) <= first[row]:
                continue
            for page in range(first[row], seen):
                pool.release(int(table[row, page]))
                table[row, page] = -1
            first[row] = seen

    def release(self, row: int) -> None:
        """Give back all pages of a row, the last first, so that a prefix outlives what followed it."""
        for table, first, pool in zip(self.tables, self._first, self.pools, strict=True):
            for page in reversed(range(first[row], self._end[row])):
                pool.release(int(table[row, page]))
            table[row, :] = -1
            first[row] = 0
        self._end[row] = self._published[row] = 0

    def publish(self, row: int, keys: Sequence[bytes], tokens: int) -> None:
        """Let the full pages of the first `tokens` positions, all computed, be found."""
        for page in range(self._published[row], tokens // PAGE):
            for table, pool in zip(self.tables, self.pools, strict=True):
                if table[row, page] >= 0:
                    pool.publish(int(table[row, page]), keys[page])
        self._published[row] = max(self._published[row], tokens // PAGE)

    def attach(self, row: int, keys: Sequence[bytes]) -> int:
        """Give an empty row the longest prefix that every kind still holds; how many tokens that is.

        A kind with a window needs only the pages that the next query sees.
        """
        best, runs = 0, [0] * len(self.pools)
        for page, key in zip(count(1), keys):  # runs: how many pages in a row end with this one
            for i, pool in enumerate(self.pools):
                runs[i] = 0 if pool.find(key) is None else runs[i] + 1
            if all(run >= page - _first_page(kind, page * PAGE) for run, kind in zip(runs, self.kinds, strict=True)):
                best = page
            elif any(run < page and kind.window is None for run, kind in zip(runs, self.kinds, strict=True)):
                break
        for i, (kind, pool) in enumerate(zip(self.kinds, self.pools, strict=True)):
            first = _first_page(kind, best * PAGE)
            for page in range(first, best):
                found = pool.find(keys[page])
                assert found is not None
                pool.share(found)
                self.tables[i][row, page] = found
            self._first[i][row] = first
        self._end[row] = self._published[row] = best
        return best * PAGE

    def clear(self) -> None:
        """Empty the prefix cache."""
        for pool in self.pools:
            pool.clear()


def _first_page(kind: Kind, position: int) -> int:
    """The first page that a query at `position` sees."""
    return 0 if kind.window is None else max(0, position - kind.window + 1) // PAGE
