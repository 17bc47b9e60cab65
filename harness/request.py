"""What a user asks of one evaluation, as values: the request, and what it was settled to. Knows no step of the road."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from harness.engine.session import Compute
from harness.errors import UsageError
from harness.plan import Plan
from harness.selection import Selected

_ALLOWED: Mapping[str, tuple[str | None, ...]] = {
    "pooling": (None, "mean", "cls", "last_token"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "overwrite": ("missing", "always", "never"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asks of ``harness eval``; see its ``--help`` for the meaning of each."""

    model: Sequence[str]
    tasks: Sequence[str]
    languages: Sequence[str] = ()
    data: str = "hub"
    output: Path | None = None
    split: Sequence[str] = ()
    changes: Sequence[str] = ()
    protocol: str | None = None
    layer: str | None = None
    pooling: Literal["mean", "cls", "last_token"] | None = None
    special_tokens: bool = True
    max_length: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_tokens: int | None = None
    limit: int | None = None
    overwrite: Literal["never", "missing", "always"] = "missing"
    fail_fast: bool = False
    offline: bool = False
    revision: str | None = None
    train: bool = True
    train_from: Sequence[str] = ()
    hyper: Sequence[str] = ()
    head_labels: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    gradient_checkpointing: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                known = ", ".join(value for value in allowed if value)
                raise UsageError(f"{name} '{getattr(self, name)}' is not allowed; there are {known}")
        if (
            not self.seeds
            or len(set(self.seeds)) < len(self.seeds)
            or not (min(self.seeds) >= 0 and max(self.seeds) < 1 << 63)
        ):
            raise UsageError(
                f"seeds {', '.join(map(str, self.seeds))}: give different whole numbers from 0 to 2^63 - 1"
            )


class Options(TypedDict, total=False):
    """The optional arguments of :func:`harness.evaluate`, as in :class:`Request`."""

    languages: Sequence[str] | str
    data: str
    output: Path | str | None
    split: Sequence[str] | str
    changes: Sequence[str] | str
    protocol: str | None
    layer: str | int | None
    pooling: Literal["mean", "cls", "last_token"] | None
    special_tokens: bool
    max_length: int | None
    device: str
    dtype: str
    batch_tokens: int | None
    limit: int | None
    overwrite: Literal["never", "missing", "always"]
    fail_fast: bool
    offline: bool
    revision: str | None
    train: bool
    train_from: Sequence[str] | str
    hyper: Sequence[str] | str
    head_labels: Sequence[str] | str
    seeds: Sequence[int]
    gradient_checkpointing: bool
    deterministic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request that has been planned.

    Attributes:
        request: With device and dtype settled.
        plan: What will be done.
        selected: What was chosen, with the languages that are not to be had.
        folder: The run folder.
        compute: On what it will run.
    """

    request: Request
    plan: Plan
    selected: Sequence[Selected]
    folder: Path
    compute: Compute
