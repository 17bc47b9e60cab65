"""A recipe's file, from YAML to :class:`harness.recipes.Recipe`, and what it may extend.

Knows the file's keys; every error names file, line and key, what was found and what is allowed. Knows no task: what only
the installed plugins can tell is looked up by :func:`harness.recipenames.check`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from harness.errors import UnknownNameError, UsageError
from harness.names import NAME
from harness.recipementions import all_mentions
from harness.recipenames import RecipeFile
from harness.recipes import ANALYSES, Analysis, Recipe, RecipeModel
from harness.recipesettings import read_settings
from harness.recipestages import (
    STAGE_KEYS,
    StageKeys,
    per_task,
    read_hyper,
    read_languages,
    read_stage_keys,
    read_train_from,
)
from harness.recipetext import RecipeText
from harness.yamlnodes import (
    Value,
    distinct,
    entries,
    items,
    load,
    one_or_more,
    text,
    texts,
    unknown,
    used_lists,
    whole,
)

KEYS = (
    "extends",
    "name",
    "title",
    "question",
    "models",
    "lists",
    "settings",
    "stage",
    "targets",
    "languages",
    "seeds",
    "protocol",
    "data",
    "split",
    "limit",
    "train_from",
    "hyper",
    "analyses",
    "baselines",
    "notes",
)
_NEEDED = ("title", "question", "models", "settings", "targets")
_ENDINGS = (".yaml", ".yml")
_Part = TypeVar("_Part")
_Found: TypeAlias = Mapping[str, Value]


def find_recipe(name: str, shipped: Mapping[str, RecipeText]) -> RecipeFile:
    """Read a recipe that is named on the command line.

    Args:
        name: A path that ends in ``.yaml`` or ``.yml``, or the name of a recipe that a plugin brings.
        shipped: Those, by name.

    Raises:
        UnknownNameError: There is no such recipe; says which there are.
        UsageError: The file cannot be read, or something in it is not allowed.
    """
    return read_recipe(_source(name, shipped, None), shipped)


def read_recipe(source: RecipeText, shipped: Mapping[str, RecipeText]) -> RecipeFile:
    """Read a recipe from its text; see :func:`find_recipe`."""
    written, lists = _layers(source, shipped, ())
    written.pop("lists", None)
    found = {key: replace(value, lists=lists) for key, value in written.items() if not value.is_null}
    for name, value in lists.items():
        if value.file == source.file and name not in used_lists(found.values()):
            raise value.error(f"the list '{name}' is used nowhere, as ${name}")
    missing = [key for key in _NEEDED if key not in found]
    if missing:
        raise UsageError(
            f"{source.file}: the key '{missing[0]}' is missing; every recipe has {', '.join(_NEEDED)}"
        )
    default = StageKeys()
    if "stage" in found:
        default = read_stage_keys(entries(found["stage"], STAGE_KEYS), None)
    recipe = Recipe(
        name=_name(source, found),
        title=text(found["title"]),
        question=text(found["question"]),
        models=_models(found["models"]),
        settings=read_settings(found["settings"], default),
        targets=_names(found["targets"]),
        languages=_read(found, "languages", _languages, ()),
        seeds=_read(found, "seeds", _seeds, (0,)),
        protocol=_read(found, "protocol", text, None),
        data=_read(found, "data", text, None),
        split=_read(found, "split", _splits, ()),
        limit=_read(found, "limit", _limit, None),
        train_from=_read(found, "train_from", _training_sets, ()),
        hyper=_read(found, "hyper", _hyper, ()),
        analyses=_read(found, "analyses", _analyses, ("transfer",)),
        baselines=_read(found, "baselines", _names, ()),
        notes=_read(found, "notes", texts, ()),
    )
    return RecipeFile(recipe=recipe, file=source.file, mentions=tuple(all_mentions(found)))


def _read(found: _Found, key: str, read: Callable[[Value], _Part], default: _Part) -> _Part:
    return read(found[key]) if key in found else default


def _source(name: str, shipped: Mapping[str, RecipeText], folder: Path | None) -> RecipeText:
    """The text behind a name or a path; a path is looked up beside the file that extends it."""
    if not name.endswith(_ENDINGS):
        if name not in shipped:
            raise UnknownNameError(
                "recipe", name, shipped, "a recipe of your own is given as a path to a .yaml file"
            )
        return shipped[name]
    path = (folder or Path()) / name
    try:
        return RecipeText(name=path.stem, text=path.read_text(encoding="utf-8"), file=str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: this is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{path}: the recipe cannot be read: {error.strerror}") from error


def _layers(
    source: RecipeText, shipped: Mapping[str, RecipeText], below: tuple[Path, ...]
) -> tuple[dict[str, Value], dict[str, Value]]:
    """The keys and the lists of a file, over those of the file that it extends.

    A key replaces the other file's whole key and ``null`` takes it away. Only ``lists`` is joined, name by name, and its
    names count everywhere, so that a small file can shorten the lists of a large one.
    """
    found = entries(load(source.text, source.file), KEYS)
    lists = _lists(found)
    if "extends" not in found:
        return found, lists
    chain = (*below, Path(source.file).resolve())
    at_home = None if shipped.get(source.name) is source else Path(source.file).parent
    with found["extends"].placed():
        other = _source(text(found["extends"]), shipped, at_home)
    if Path(other.file).resolve() in chain:
        raise found["extends"].error(f"'{text(found['extends'])}' extends this file in turn")
    parent, more = _layers(other, shipped, chain)
    kept = {key: value for key, value in parent.items() if key not in ("extends", "name")}
    return {**kept, **found}, {**more, **lists}


def _lists(found: _Found) -> dict[str, Value]:
    """The named lists of one file, each looked at once."""
    lists = entries(found["lists"]) if "lists" in found else {}
    for value in lists.values():
        items(value)
    return lists


def _name(source: RecipeText, found: _Found) -> str:
    if "name" not in found:
        if not NAME.fullmatch(source.name):
            raise UsageError(
                f"{source.file}: '{source.name}' cannot be a recipe's name; give it with the key 'name'"
            )
        return source.name
    name = text(found["name"])
    if not NAME.fullmatch(name):
        raise found["name"].error(
            f"found '{name}', a name has lower-case letters and digits, joined by - or _"
        )
    return name


def _models(value: Value) -> tuple[RecipeModel, ...]:
    """``MODEL`` or ``{model:, name:, family:}``; a model's name is the last part of its path unless given."""
    models: dict[str, RecipeModel] = {}
    for item in one_or_more(value):
        found = entries(item, ("model", "name", "family")) if item.kind == "mapping" else {"model": item}
        if "model" not in found:
            raise item.error("the key 'model' is missing: a folder, a hub id or 'sample'")
        model = text(found["model"])
        name = _read(found, "name", text, model.rstrip("/").rpartition("/")[2])
        if name in models:
            raise item.error(f"two models are called '{name}'; give one another 'name'")
        if model in [other.model for other in models.values()]:
            raise item.error(f"the model '{model}' is given twice")
        models[name] = RecipeModel(name=name, model=model, family=_read(found, "family", text, ""))
    return tuple(models.values())


def _names(value: Value) -> tuple[str, ...]:
    return tuple(text(item) for item in distinct(one_or_more(value)))


def _languages(value: Value) -> tuple[str, ...]:
    """Codes, or the one word ``available``."""
    return read_languages(value, "available")


def _seeds(value: Value) -> tuple[int, ...]:
    """Each once, however it is written."""
    first: dict[int, Value] = {}
    for item in one_or_more(value):
        before = first.setdefault(whole(item), item)
        if before is not item:
            raise item.error(f"the seed {whole(item)} is given twice, before on line {before.line}")
    return tuple(first)


def _limit(value: Value) -> int:
    return whole(value, least=1)


def _splits(value: Value) -> tuple[str, ...]:
    return per_task(value, text)


def _training_sets(value: Value) -> tuple[str, ...]:
    return per_task(value, read_train_from)


def _hyper(value: Value) -> tuple[str, ...]:
    return tuple(
        f"{task}.{name}={changed}" if task else f"{name}={changed}"
        for task, changes in read_hyper(value, None).items()
        for name, changed in changes.items()
    )


def _analyses(value: Value) -> tuple[Analysis, ...]:
    by_name: dict[str, Analysis] = {name: name for name in ANALYSES}
    found: list[Analysis] = []
    for item in distinct(one_or_more(value)):
        if text(item) not in by_name:
            raise item.error(unknown("analysis", text(item), ANALYSES))
        found.append(by_name[text(item)])
    return tuple(found)
