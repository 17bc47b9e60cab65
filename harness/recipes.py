"""An experiment as a value: models × ways of intermediate training × seeds, and what is evaluated after each.

Knows names only: no file, no data, no model, no torch. :mod:`harness.recipefile` reads one from YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from harness import digests
from harness.errors import UsageError
from harness.names import NAME
from harness.stages import MaskedShare, Setting, Stage

Analysis: TypeAlias = Literal[
    "transfer", "forgetting", "sizes", "order", "typology", "best_intermediate", "baselines"
]
ANALYSES: tuple[Analysis, ...] = (
    "transfer",
    "forgetting",
    "sizes",
    "order",
    "typology",
    "best_intermediate",
    "baselines",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeModel:
    """A model of an experiment.

    Attributes:
        name: As it stands in tables.
        model: A folder, a hub id or ``sample``, as in ``--model``.
        family: What kind of model it is, for groups, e.g. ``dense`` or ``mixture of experts``; may be empty.
    """

    name: str
    model: str
    family: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole experiment, as its file says it after every list has been expanded.

    Attributes:
        name: Lower-case letters and digits, joined by - or _.
        title: One line.
        question: What the experiment answers.
        models: At least one.
        settings: Ways of intermediate training, at least one, in the order of the tables.
        targets: Tasks, suites or globs, as in ``--tasks``.
        languages: As in ``--languages``; empty for the targets' own.
        seeds: One cell for each, of intermediate training and of fine-tuning alike.
        protocol: As in ``--protocol``; None for the default.
        data: ``hub``, ``sample``, a folder or ``FOLDER+hub``; None for what ``--data`` says.
        split: As in ``--split``.
        limit: Items of each target and language, None for all.
        train_from: As in ``--train-from``, for the targets.
        hyper: As in ``--hyper``, for the targets' fine-tuning.
        analyses: What the report shows.
        baselines: Names of published numbers to stand beside ours.
        notes: What a reader of the results must know, above all which choices are this harness's own.
    """

    name: str
    title: str
    question: str
    models: tuple[RecipeModel, ...]
    settings: tuple[Setting, ...]
    targets: tuple[str, ...]
    languages: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    protocol: str | None = None
    data: str | None = None
    split: tuple[str, ...] = ()
    limit: int | None = None
    train_from: tuple[str, ...] = ()
    hyper: tuple[str, ...] = ()
    analyses: tuple[Analysis, ...] = ("transfer",)
    baselines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"recipe '{self.name}': a name has lower-case letters and digits, joined by - or _"
            )
        for what in ("models", "settings", "targets", "seeds"):
            if not getattr(self, what):
                raise UsageError(f"recipe '{self.name}': {what} are missing")
        if any(not 0 <= seed < 1 << 63 for seed in self.seeds):
            raise UsageError(f"recipe '{self.name}': seeds are whole numbers from 0 to 2^63 - 1")
        named = {
            "models": [model.name for model in self.models],
            "settings": [setting.name for setting in self.settings],
            "seeds": list(map(str, self.seeds)),
            "targets": list(self.targets),
        }
        for what, names in named.items():
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise UsageError(f"recipe '{self.name}': two {what} are called '{twice}'")
        odd = [name for name in self.analyses if name not in ANALYSES]
        if odd:
            raise UsageError(f"no analysis '{odd[0]}'; there are {', '.join(ANALYSES)}")
        same = twins({model.name: model.model for model in self.models}) or twins(
            {setting.name: [as_value(stage) for stage in setting.stages] for setting in self.settings}
        )
        if same is not None:
            raise UsageError(
                f"recipe '{self.name}': '{same[0]}' and '{same[1]}' are the same under two names"
            )


def twins(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first two names that stand for equal JSON values, None where there are none."""
    first: dict[str, str] = {}
    for name, value in values.items():
        before = first.setdefault(digests.of_value(value), name)
        if before != name:
            return before, name
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of an experiment: a model, trained in one way with one seed.

    Attributes:
        model: What it starts from.
        setting: How it is trained before the targets.
        seed: Of every training in it.
    """

    model: RecipeModel
    setting: Setting
    seed: int

    @property
    def id(self) -> str:
        """16 hexadecimal digits of what is trained and evaluated; names, families and axes do not count."""
        return prefix_id(self.model, self.setting.stages, self.seed)

    @property
    def title(self) -> str:
        """Model, setting and seed, for people."""
        return f"{self.model.name} · {self.setting.name} · seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """A chain of stages with which several cells begin, so that it needs to be trained once.

    Attributes:
        id: 16 hexadecimal digits.
        model: What it starts from.
        stages: The chain, at least one.
        seed: Of every training in it.
        cells: Ids of the cells that begin with it, two or more, in order.
    """

    id: str
    model: RecipeModel
    stages: tuple[Stage, ...]
    seed: int
    cells: tuple[str, ...]


def prefix_id(model: RecipeModel, stages: Sequence[Stage], seed: int) -> str:
    """Names a chain of stages by its content, before any data is read."""
    return digests.of_value(
        {"model": model.model, "stages": [as_value(stage) for stage in stages], "seed": seed}
    )


def as_value(stage: Stage) -> dict[str, Any]:
    """A stage as a JSON value in which what has no effect is left out, so that equal training is equal.

    A sampler chooses nothing among one task, masked LM that takes no step has no tasks, and the whole training set is no
    part of it. Languages and alpha count even so: whether a stage's tasks are in many languages, names do not tell.
    """
    value = asdict(stage)
    if len(stage.tasks) == 1:
        del value["sampler"]
    if not stage.masked.share:
        usual = asdict(MaskedShare())
        given = {name: value["masked"][name] for name in ("languages", "alpha")}
        value["masked"] = {name: part for name, part in given.items() if part != usual[name]}
    value["sizes"] = _without_whole(stage.sizes)
    return {name: part for name, part in value.items() if part}


# 100 %, in every spelling of it; "1" is one example.
_WHOLE = re.compile(r"0*100(\.0*)?%|0*1\.0*")


def _without_whole(sizes: Mapping[str, str]) -> dict[str, str]:
    """Sizes without those of 100 %, which one task has to say where another size is said of all."""
    general = {name: size for name, size in sizes.items() if not name and not _WHOLE.fullmatch(size)}
    own = {name: size for name, size in sizes.items() if name and (general or not _WHOLE.fullmatch(size))}
    return general | own


def as_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as a JSON value with every setting written out, for ``experiment.json``."""
    return asdict(recipe)


def cells(recipe: Recipe) -> tuple[Cell, ...]:
    """Every cell, by model, then setting, then seed, each in the recipe's order."""
    return tuple(
        Cell(model=model, setting=setting, seed=seed)
        for model in recipe.models
        for setting in recipe.settings
        for seed in recipe.seeds
    )


def shared_prefixes(recipe: Recipe) -> tuple[Prefix, ...]:
    """The chains of stages that two or more cells begin with, in the order in which cells first reach them.

    Chains are compared by value, before any data is read; the cache finds by digest what this does not foresee, such as
    a chain that another recipe has trained. A cell that consists of the chain alone counts too.
    """
    found: dict[str, tuple[Cell, tuple[Stage, ...], list[str]]] = {}
    for cell, stages in _chains(cells(recipe)):
        name = prefix_id(cell.model, stages, cell.seed)
        found.setdefault(name, (cell, stages, []))[2].append(cell.id)
    return tuple(
        Prefix(id=name, model=cell.model, stages=stages, seed=cell.seed, cells=tuple(users))
        for name, (cell, stages, users) in found.items()
        if len(users) > 1
    )


def _chains(every: Iterable[Cell]) -> Iterable[tuple[Cell, tuple[Stage, ...]]]:
    for cell in every:
        for length in range(1, len(cell.setting.stages) + 1):
            yield cell, cell.setting.stages[:length]
