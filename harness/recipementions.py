"""The names in a recipe's file that the file alone cannot tell to be right, each with its place.

Knows the file's keys, which have been read before; knows no task. A wrong name is told by :mod:`harness.recipenames`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness import languages
from harness.recipestages import read_masked
from harness.yamlnodes import Value, entries, items, one_or_more, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A name in a recipe's file that the file alone cannot tell to be right.

    Attributes:
        kind: What it names: a key of the table that :func:`harness.recipenames.check` goes by.
        name: The name.
        value: Where it stands.
        tasks: Of which tasks it is said; empty for every one that the kind is about.
    """

    kind: str
    name: str
    value: Value
    tasks: tuple[str, ...] = ()


def all_mentions(found: Mapping[str, Value]) -> Iterator[Mention]:
    """Every name to be looked up, in the order in which it is; ``found`` has been read before."""
    for kind, key in (("target", "targets"), ("baseline", "baselines")):
        for item in one_or_more(found[key]) if key in found else ():
            yield Mention(kind=kind, name=text(item), value=item)
    for key in ("protocol", "data"):
        if key in found:
            yield Mention(kind=key, name=text(found[key]), value=found[key])
    for item in one_or_more(found["models"]):
        model = entries(item)["model"] if item.kind == "mapping" else item
        yield Mention(kind="model", name=text(model), value=model)
    for item in one_or_more(found["languages"]) if "languages" in found else ():
        if text(item) != "available":
            yield Mention(kind="language", name=languages.canonical(text(item)), value=item)
    for key, kind in (("split", "split"), ("train_from", "target set"), ("hyper", "")):
        if key in found:
            yield from _of_targets(found[key], kind)
    if "stage" in found:
        yield from _of_defaults(entries(found["stage"]))
    yield from _of_settings(found["settings"])


def _of_targets(value: Value, kind: str) -> Iterator[Mention]:
    """What is said of all targets or of each; without a kind only the targets' names count."""
    if value.kind == "scalar":
        yield Mention(kind=kind, name=text(value), value=value)
        return
    for name, inner in entries(value).items():
        if kind or inner.kind == "mapping":
            yield Mention(kind="selected", name=name, value=inner)
        if kind:
            yield Mention(kind=kind, name=text(inner), value=inner, tasks=(name,))


def _of_defaults(found: Mapping[str, Value]) -> Iterator[Mention]:
    """Tasks that the defaults of stages name."""
    for key in ("sizes", "translated", "hyper", "train_from", "set"):
        value = found.get(key)
        for name, inner in entries(value).items() if value is not None and value.kind == "mapping" else ():
            if inner.kind == "mapping" if key in ("translated", "hyper", "set") else True:
                yield Mention(kind="task", name=name, value=inner)
    yield from _of_masked(found)
    yield from _of_sets(found, ())


def _of_settings(settings: Value) -> Iterator[Mention]:
    """Every intermediate task that the entries name, in the order of the file, and what it learns."""
    for entry in items(settings):
        found = entries(entry)
        parts = [entries(stage) for stage in items(found["stages"])] if "stages" in found else [found]
        for part in parts:
            listed = [part[key] for key in ("tasks", "each", "multitask", "sequential") if key in part]
            listed += [entries(part["orders"])["of"]] if "orders" in part else []
            tasks = [item for value in listed for item in one_or_more(value)]
            for item in tasks:
                yield Mention(kind="learned", name=text(item), value=item)
            yield from _of_masked(part)
            yield from _of_sets(part, tuple(text(item) for item in tasks))


def _of_sets(found: Mapping[str, Value], tasks: tuple[str, ...]) -> Iterator[Mention]:
    """Other training sets and settings of a stage's tasks, and what is kept apart from them."""
    for item in one_or_more(found["apart"]) if "apart" in found else ():
        yield Mention(kind="target", name=text(item), value=item)
    for name, settings in entries(found["set"]).items() if "set" in found else ():
        for key, leaf in entries(settings).items():
            yield Mention(kind="setting", name=f"{key}={text(leaf)}", value=leaf, tasks=(name,))
    value = found.get("train_from")
    if value is None:
        return
    for name, inner in entries(value).items() if value.kind == "mapping" else [("", value)]:
        yield Mention(kind="stage set", name=text(inner), value=inner, tasks=(name,) if name else tasks)


def _of_masked(found: Mapping[str, Value]) -> Iterator[Mention]:
    masked = found.get("mlm")
    if masked is None:
        return
    if masked.kind == "mapping" and "tasks" in entries(masked):
        for item in one_or_more(entries(masked)["tasks"]):
            yield Mention(kind="masked", name=text(item), value=item)
        return
    for name in read_masked(masked).tasks:
        yield Mention(kind="masked", name=name, value=masked)
