"""Intermediate training as a value: which tasks, mixed how, on how much data. Knows names; knows no data and no model.

A stage is one training; several in a row are a sequence, each starting from the checkpoint of the one before. What is
written here is what the user asked for; :mod:`harness.phases` finds the data and makes phases of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from harness.errors import UsageError

# Whose training values are taken where no protocol is named: Phang et al. 2020 (arXiv 2005.13013).
PROTOCOL = "phang2020"
SamplerKind: TypeAlias = Literal["proportional", "uniform", "temperature", "fixed"]
SAMPLERS: tuple[SamplerKind, ...] = ("proportional", "uniform", "temperature", "fixed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How often each task of a stage is drawn; one optimizer step learns one task.

    Attributes:
        kind: ``proportional`` to the number of training items, ``uniform``, ``temperature`` (the number to the power
            1 / temperature), or ``fixed`` shares.
        temperature: From 1 (proportional) up (uniform in the limit).
        cap: Items of a task that count at most, None for all (jiant's and T5's cap).
        shares: Task to its share, for ``fixed``; brought to sum 1.
    """

    kind: SamplerKind = "proportional"
    temperature: float = 1.0
    cap: int | None = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in SAMPLERS:
            raise UsageError(f"sampler '{self.kind}' is not known; there are {', '.join(SAMPLERS)}")
        if not 1 <= self.temperature < 1e6:
            raise UsageError(f"temperature {self.temperature}: must be at least 1")
        if self.cap is not None and self.cap < 1:
            raise UsageError(f"cap {self.cap}: must be at least 1")
        if self.kind != "temperature" and self.temperature != 1:
            raise UsageError(
                f"temperature {self.temperature} belongs to the sampler 'temperature', not '{self.kind}'"
            )
        if self.kind in ("uniform", "fixed") and self.cap is not None:
            raise UsageError(f"a cap changes nothing for the sampler '{self.kind}'")
        if (self.kind == "fixed") != bool(self.shares):
            raise UsageError("shares are given exactly for the sampler 'fixed'")
        if any(not 0 < share < 1e6 for share in self.shares.values()):
            raise UsageError("shares must be above 0")

    def weights(self, items: Mapping[str, int]) -> dict[str, float]:
        """The probability of each task, in the order of ``items`` (task to number of training items).

        Raises:
            UsageError: Fixed shares do not name exactly these tasks.

        >>> Sampler(kind="temperature", temperature=2).weights({"a": 100, "b": 25})
        {'a': 0.6666666666666666, 'b': 0.3333333333333333}
        """
        if self.kind == "fixed":
            if set(self.shares) != set(items):
                raise UsageError(
                    f"shares are given for {', '.join(self.shares)}, the tasks are {', '.join(items)}"
                )
            raw = {task: self.shares[task] for task in items}
        elif self.kind == "uniform":
            raw = dict.fromkeys(items, 1.0)
        else:
            most = self.cap or max(items.values(), default=0)
            raw = {task: min(count, most) ** (1 / self.temperature) for task, count in items.items()}
        total = sum(raw.values())
        return {task: value / total for task, value in raw.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedShare:
    """Masked-LM steps mixed into a stage, and which texts in many languages it learns from.

    Attributes:
        share: Of all steps, from 0 to below 1.
        tasks: Masked-LM tasks, ``mlm`` (text) and ``tlm`` (translation pairs in one sequence).
        languages: Of texts and of translation pairs, whether mixed in or not; empty for all that the data has.
        alpha: Exponent of language sampling: a language with the share q of the texts is drawn in proportion to
            q ** alpha (0.3 in XLM-R, arXiv 1911.02116).
    """

    share: float = 0.0
    tasks: tuple[str, ...] = ("mlm",)
    languages: tuple[str, ...] = ()
    alpha: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UsageError(f"masked-LM share {self.share}: must be from 0 to below 1")
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"masked-LM alpha {self.alpha}: must be from 0 to 1")
        for what, names in (("tasks", self.tasks), ("languages", self.languages)):
            if len(set(names)) < len(names):
                raise UsageError(f"masked-LM {what} {', '.join(names)}: one is named twice")
        if self.share and not self.tasks:
            raise UsageError("a masked-LM share needs a task: mlm, tlm or both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """Machine-translated examples in place of English ones.

    Attributes:
        languages: Into which the training set was translated.
        share: Of the examples that are read in a translation, above 0 and up to 1; the language is drawn evenly.
    """

    languages: tuple[str, ...]
    share: float = 0.5

    def __post_init__(self) -> None:
        if not self.languages:
            raise UsageError("a translated training set needs at least one language")
        if not 0 < self.share <= 1:
            raise UsageError(f"translated share {self.share}: must be above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One intermediate training.

    Attributes:
        tasks: What is learned, in the order given; several are learned at once.
        sampler: How often each is drawn.
        masked: Masked-LM steps mixed in.
        sizes: Task (``""``: every one) to a share of its training set (``"0.1"``, ``"10%"``) or a number (``"500"``).
        translated: Task (``""``: every one) to its translations.
        hyper: Task (``""``: every one) to changed hyper-parameters, as text, as in ``--hyper``.
        train_from: Task (``""``: every one) to another training set, as text, as in ``--train-from``.
        apart: Tasks, suites or globs: no evaluated text of theirs is learned from texts in many languages (see
            :mod:`harness.overlap`).
        settings: Task to changed settings of its format, as text, as in ``--set``.
    """

    tasks: tuple[str, ...]
    sampler: Sampler = field(default_factory=Sampler)
    masked: MaskedShare = field(default_factory=MaskedShare)
    sizes: Mapping[str, str] = field(default_factory=dict)
    translated: Mapping[str, Translated] = field(default_factory=dict)
    hyper: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    train_from: Mapping[str, str] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UsageError("a stage needs at least one task")
        if len(set(self.tasks)) < len(self.tasks):
            raise UsageError(f"tasks {', '.join(self.tasks)}: one is named twice")
        twice = [task for task in self.masked.tasks if self.masked.share and task in self.tasks]
        if twice:
            raise UsageError(
                f"task '{twice[0]}' is learned and mixed in; give it as a task or as the masked-LM share"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A way of intermediate training under a name, as one column of an experiment; without stages, the baseline.

    Attributes:
        name: As it stands in tables.
        stages: In order.
        axes: What the setting is, for plots and groups, e.g. ``{"size": "0.1"}`` or ``{"order": "mnli > qqp"}``.
    """

    name: str
    stages: tuple[Stage, ...] = ()
    axes: Mapping[str, str] = field(default_factory=dict)
