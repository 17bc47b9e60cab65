"""Data sets before a run: fetch from the hub, verify by checksum, pack into one file for a machine without a network.

Knows sources and manifests; reads no example.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from harness import digests, files, sources
from harness.errors import DataError
from harness.home import ADVICE, home
from harness.sources import DataLocation
from harness.spec import FilesSource, HubSource, TaskSpec

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of a data set.

    Attributes:
        task: The task that reads it.
        origin: ``owner/name@revision`` for the hub, ``files`` for a data folder.
        path: Relative path inside the repository or the data folder, with slashes.
        bytes: Size.
        sha256: Of its content.
    """

    task: str
    origin: str
    path: str
    bytes: int
    sha256: str


def manifest_path() -> Path:
    """Where the checksums of everything fetched are kept."""
    return home() / "data" / MANIFEST


def read_manifest(path: Path) -> list[Item]:
    """The items of a manifest, none if there is no such file.

    Raises:
        DataError: It is not a manifest.
    """
    if not path.is_file():
        return []
    try:
        return [Item(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["items"]]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not a data manifest ({error})") from error


def _note(items: Sequence[Item], kept: Callable[[Item], bool] = lambda item: True) -> None:
    """Put items in place of those of the same names among the noted ones that are kept; one process at a time."""
    path = manifest_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            every = [*filter(kept, read_manifest(path)), *items]
            _write_manifest(
                path, list({(item.task, item.origin, item.path): item for item in every}.values())
            )
    except OSError as error:
        raise files.output_error(path, error, ADVICE) from error


def _write_manifest(path: Path, items: Sequence[Item]) -> None:
    files.write_text(path, _manifest_text(items))


def _manifest_text(items: Sequence[Item]) -> str:
    ordered = sorted(items, key=lambda item: (item.task, item.origin, item.path))
    return json.dumps({"version": 1, "items": [asdict(item) for item in ordered]}, indent=1) + "\n"


def fetch(tasks: Sequence[TaskSpec], *, offline: bool = False) -> list[Item]:
    """Fetch every hub source of the tasks at its pinned revision and note the checksums.

    Raises:
        DataError: A repository cannot be fetched, or a file differs from what an earlier fetch noted for the revision.
    """
    noted = {(item.origin, item.path): item for item in read_manifest(manifest_path())}
    items = []
    for task in tasks:
        for source in _hub_sources(task):
            folder = sources.hub_snapshot(source, offline=offline)
            for item in _items(task.name, _origin(source), folder):
                before = noted.get((item.origin, item.path))
                if before is not None and before.sha256 != item.sha256:
                    raise DataError(
                        f"{item.origin} {item.path}: SHA-256 {item.sha256}, but {before.sha256} was fetched before"
                    )
                items.append(item)
    fetched, pinned = {task.name for task in tasks}, {item.origin for item in items}
    _note(items, kept=lambda item: item.task not in fetched or item.origin in pinned)
    return list(dict.fromkeys(items))


def verify(tasks: Sequence[TaskSpec], location: DataLocation) -> list[str]:
    """What is wrong with the tasks' data: one line per file that is missing or changed, empty if all is well.

    For the hub, against the checksums noted when it was fetched; for a folder, against its own ``manifest.json`` if it
    has one (a pack brings it).

    Raises:
        DataError: There are no checksums to verify against.
    """
    names = {task.name for task in tasks}
    noted = read_manifest(manifest_path() if location.folder is None else location.folder / MANIFEST)
    mine = [item for item in noted if item.task in names]
    if location.kind == "sample":
        raise DataError("the sample comes with the harness and has no checksums; verify hub or a folder")
    unnoted = sorted(names - {item.task for item in mine})
    if unnoted:
        names = set(unnoted)
        where = (
            "nothing was fetched yet; run 'harness data fetch'"
            if location.folder is None
            else "it has no manifest.json"
        )
        raise DataError(f"no checksums for {', '.join(sorted(names))} in {location}: {where}")
    problems = []
    for item in mine:
        path = _root(item, tasks, location) / item.path
        if not path.is_file():
            problems.append(f"{item.task}: {path} is missing")
        elif digests.of_file(path) != item.sha256:
            problems.append(f"{item.task}: {path} has changed (SHA-256 is not {item.sha256})")
    return problems


def _root(item: Item, tasks: Sequence[TaskSpec], location: DataLocation) -> Path:
    if location.folder is not None:
        return location.folder
    for task in tasks:
        for source in _hub_sources(task):
            if _origin(source) == item.origin:
                return _snapshot_folder(item.origin)
    raise DataError(
        f"{item.origin} is noted for task '{item.task}', but the task now pins another revision; fetch again"
    )


def pack(tasks: Sequence[TaskSpec], location: DataLocation, target: Path) -> list[Item]:
    """Put the tasks' data into one tar file with a checksummed manifest.

    From a folder, its files in their layout: unpack it anywhere and give that to ``--data``. From the hub, the snapshots
    in the layout of the hub's cache: :func:`unpack` puts them there.

    Raises:
        DataError: There is nothing to pack, or a snapshot is not cached.
    """
    gathered = list(_gather(tasks, location))
    if not gathered:
        raise DataError(f"{location} holds no file of {', '.join(task.name for task in tasks)}")
    with files.atomic(target) as temporary, tarfile.open(temporary, "w") as archive:
        _add(archive, MANIFEST, _manifest_text([item for item, _ in gathered]).encode("utf-8"))
        for item, path in gathered:
            _add(archive, _name_in_pack(item), path.read_bytes())
    return [item for item, _ in gathered]


def _gather(tasks: Sequence[TaskSpec], location: DataLocation) -> Iterator[tuple[Item, Path]]:
    seen: set[Path] = set()
    for task in tasks:
        if location.kind == "hub":
            for source in _hub_sources(task):
                folder = sources.hub_snapshot(source, offline=True)
                for item in _items(task.name, _origin(source), folder):
                    if folder / item.path not in seen:
                        seen.add(folder / item.path)
                        yield item, folder / item.path
            continue
        root = sources.data_root(task, location)
        for path in _declared(task, root):
            if path not in seen:
                seen.add(path)
                yield _item(task.name, "files", root, path), path


def _declared(task: TaskSpec, root: Path) -> Iterator[Path]:
    """The files below a data folder that the task's sources name and that exist."""
    for source in task.sources:
        if isinstance(source, FilesSource):
            for language in task.languages:
                for split in task.splits:
                    found = (files.find(root / path) for path in source.files(language, split).values())
                    yield from (path for path in found if path is not None)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file without time or owner, so that the same data always gives the same archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def unpack(archive_path: Path, target: Path | None = None) -> list[Item]:
    """Lay out a pack and check every file: hub snapshots into the hub's cache, other files below ``target``.

    Raises:
        DataError: The pack is damaged, holds a path that leads outside, or needs a ``target``.
    """
    try:
        with tarfile.open(archive_path) as archive:
            content = archive.extractfile(MANIFEST)
            items = [Item(**entry) for entry in json.loads(content.read() if content else b"")["items"]]
            for item in items:
                _unpack_one(archive, item, target, archive_path)
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{archive_path}: not a whole data pack ({type(error).__name__}: {error})") from error
    hub = [item for item in items if item.origin != "files"]
    if hub:
        _note(hub)
    if target is not None and len(hub) < len(items):
        _write_manifest(target / MANIFEST, [item for item in items if item.origin == "files"])
    return items


def _unpack_one(archive: tarfile.TarFile, item: Item, target: Path | None, where: Path) -> None:
    if item.origin != "files" and not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", item.origin):
        raise DataError(f"{where}: origin {item.origin} is not owner/name@revision")
    if PurePosixPath(item.path).is_absolute() or ".." in PurePosixPath(item.path).parts:
        raise DataError(f"{where}: path {item.path} leads outside")
    if item.origin == "files" and target is None:
        raise DataError(f"{where} holds files of a data folder; say where they go with --to")
    folder = _snapshot_folder(item.origin) if item.origin != "files" else target
    assert folder is not None
    content = archive.extractfile(_name_in_pack(item))
    with files.atomic(folder / item.path) as temporary:
        with temporary.open("wb") as stream:
            shutil.copyfileobj(content or io.BytesIO(), stream)
        if digests.of_file(temporary) != item.sha256:
            raise DataError(f"{where}: {item.path} is damaged (SHA-256 is not {item.sha256})")


def _snapshot_folder(origin: str) -> Path:
    """Where the hub's client looks for a data set at a full commit hash."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository, _, revision = origin.partition("@")
    return (
        Path(constants.HF_HUB_CACHE)
        / repo_folder_name(repo_id=repository, repo_type="dataset")
        / "snapshots"
        / revision
    )


def _name_in_pack(item: Item) -> str:
    return f"{item.origin.replace('/', '--')}/{item.path}" if item.origin != "files" else item.path


def _hub_sources(task: TaskSpec) -> list[HubSource]:
    return [source for source in task.sources if isinstance(source, HubSource)]


def _origin(source: HubSource) -> str:
    return f"{source.repository}@{source.revision}"


def _items(task: str, origin: str, folder: Path) -> Iterator[Item]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield _item(task, origin, folder, path)


def _item(task: str, origin: str, root: Path, path: Path) -> Item:
    return Item(
        task=task,
        origin=origin,
        path=path.relative_to(root).as_posix(),
        bytes=path.stat().st_size,
        sha256=digests.of_file(path),
    )
