"""Which source of a task has a split: files below a data folder, repositories on the hub. Reads no row.

A task's data may be joined from several data sets, its parts; a split is there where every part has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness import files
from harness.errors import DataError
from harness.spec import FilesSource, HubSource, Source, TaskSpec


def parts(task: TaskSpec) -> dict[str, list[Source]]:
    """The sources of each data set that the task joins, by the part's name; one part ``""`` where it joins none."""
    found: dict[str, list[Source]] = {}
    for source in task.sources:
        found.setdefault(source.part, []).append(source)
    return found


def present(
    sources: Iterable[Source], language: str, split: str, root: Path
) -> Iterator[tuple[FilesSource, Mapping[str, Path]]]:
    """Each file source all of whose needed files exist, with their paths by role."""
    for source in sources:
        if isinstance(source, FilesSource):
            wanted = source.files(language, split)
            found = {role: files.find(root / path) for role, path in wanted.items()}
            paths = {role: path for role, path in found.items() if path is not None}
            if paths and set(wanted) - source.optional <= set(paths):
                yield source, paths


def known(task: TaskSpec, language: str, split: str) -> bool:
    """Whether every part of the task's data has a source with such a split, wherever it may lie."""
    return all(
        any(
            source.files(language, split)
            if isinstance(source, FilesSource)
            else any(on_hub([source], language, split))
            for source in sources
        )
        for sources in parts(task).values()
    )


def whole(task: TaskSpec, language: str, split: str, root: Path) -> bool:
    """Whether every part of the task's data is below a folder."""
    return all(any(present(sources, language, split, root)) for sources in parts(task).values())


def missing(task: TaskSpec, language: str, split: str, root: Path, *, most: int | None = None) -> DataError:
    """What each layout of each part that is not there lacks, and which splits are there.

    Args:
        most: Of so many layouts of a part it is told, of the others their number; None for all.
    """
    gone = [
        f"part {part}: {_lacking(sources, language, split, root, most)}".removeprefix("part : ")
        for part, sources in parts(task).items()
        if not any(present(sources, language, split, root))
    ]
    others = [other for other in task.splits if other != split and whole(task, language, other, root)]
    advice = (
        f"the folder has split {', '.join(others)}: add --split {task.name}={others[0]}" if others else ""
    )
    return DataError(f"no such data below {root} ({'; '.join(gone)})", advice=advice)


def _lacking(sources: Iterable[Source], language: str, split: str, root: Path, most: int | None) -> str:
    layouts = []
    for source in sources:
        if isinstance(source, FilesSource) and (wanted := source.files(language, split)):
            needed = (path for role, path in wanted.items() if role not in source.optional)
            gone = ", ".join(path for path in needed if not files.find(root / path))
            every = f"every one of {', '.join(wanted.values())}"
            layouts.append(f"{source.name} layout lacks {gone or every}")
    others = len(layouts) - len(layouts[:most])
    told = " | ".join(layouts[:most]) or "no layout has this split"
    return f"{told} and {others} other{'s' * (others > 1)}" if others else told


def needed(source: HubSource, language: str, split: str) -> tuple[str, ...]:
    """Patterns of a repository's files for one language and split; none where it has no such data."""
    found = source.patterns(language, split) if callable(source.patterns) else source.patterns
    return found if source.split(split) is not None else ()


def on_hub(sources: Iterable[Source], language: str, split: str) -> Iterator[HubSource]:
    """Each hub source that has a split of a language."""
    return (one for one in sources if isinstance(one, HubSource) and needed(one, language, split))


def hub_source(sources: Sequence[Source], part: str, language: str, split: str) -> HubSource:
    """The first hub source that has a split of a language.

    Raises:
        DataError: There is none.
    """
    for source in on_hub(sources, language, split):
        return source
    every = [one for one in sources if isinstance(one, HubSource)]
    known = ", ".join(dict.fromkeys(one.repository for one in every))
    whose = f" of part {part}" if part else ""
    which = f" in '{language}'" if any(one.split(split) is not None for one in every) else ""
    raise DataError(
        f"no hub source{whose} has split '{split}'{which} (looked at: {known or 'none'}); use --data with a folder"
    )
