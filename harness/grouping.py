"""Who encodes which text: units in groups, each distinct text in one of them. Knows units; knows no file and no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.plan import Unit

# New texts that are encoded together at most, unless one unit has more. What a head answers comes in such groups too, and
# a group is written when it is done. While it runs the next one's tokens are made: on a GPU, where a group takes seconds,
# groups are large enough for full batches and small enough for a task to have several.
GROUP_TEXTS = 8_192
GROUP_EXAMPLES = {"cpu": GROUP_TEXTS, "cuda": 32_768}


def with_owners(units: Sequence[Unit], *, strict: bool, device: str) -> Iterable[Unit]:
    """Give each distinct text to one group of units, the first in which it occurs, so that it is encoded once.

    Groups are runs of units of one model that together bring some thousands of new texts: enough for full batches, and
    few enough for a unit's score not to keep one waiting. They follow from the plan alone, so batches do too. A head
    looks at whole examples, so there each unit's texts belong to its own group.
    """
    nothing = np.empty(0, dtype="S16"), np.empty(0, dtype=np.int64)
    known: dict[tuple[str, tuple[int, ...], int], tuple[NDArray[np.bytes_], NDArray[np.int64]]] = {}
    group, size = 0, 0
    before: tuple[str, tuple[int, ...], int, bool] = ("", (), 0, False)
    for unit in units:
        kind = (unit.model, unit.order, unit.max_length, bool(unit.spaces))
        most = GROUP_TEXTS if unit.spaces else GROUP_EXAMPLES[device.split(":", maxsplit=1)[0]]
        texts, owner = known.get(kind[:3], nothing) if unit.spaces else nothing
        fresh = unit.texts[~np.isin(unit.texts, texts)]
        if size and (strict or size + len(fresh) > most or kind != before):
            group, size = group + 1, 0
        size, before = size + len(fresh), kind
        if not unit.spaces:
            yield replace(unit, group=group, owner=np.full(len(unit.texts), group))
            continue
        texts, owner = np.concatenate([texts, fresh]), np.concatenate([owner, np.full(len(fresh), group)])
        order = np.argsort(texts, kind="stable")
        texts, owner = known[kind[:3]] = texts[order], owner[order]
        mine = owner[np.searchsorted(texts, unit.texts)] if len(unit.texts) else owner[:0]
        yield replace(unit, group=group, owner=mine)
