"""Cells on other machines, which share files with this one: a cell tells what happens by adding lines to a file.

Knows jobs and files; knows neither Ray nor Slurm, and no model. What is shared is the experiment's folder, the cache
(``HARNESS_HOME``) and the folder in which the command was given.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from harness import files
from harness.curriculum import TRAINING_VERSION
from harness.executors.base import Event
from harness.experiment import Ended, Job
from harness.home import ADVICE, home
from harness.plan import ENGINE_VERSION
from harness.telling import Teller, Told
from harness.version import __version__

CELLS = ".cells"
_MARK = ".identity"
# A machine that is gone holds its locks on a network file system until the server misses it; NFS 4 waits 90 seconds.
_LOCK_SECONDS = 120
_SETTINGS = ("HARNESS_", "HF_", "TRANSFORMERS_")
# An errand may be written into a folder that others read; the other machine has its own token, or none.
_SECRET = "TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A cell as another machine is asked to do it.

    Attributes:
        job: The cell, its folder absolute.
        device: ``cpu`` or ``cuda``.
        threads: On the CPU; None for as many as torch likes.
        told: The file into which it tells, which is there already.
        cache: HARNESS_HOME, absolute.
        mark: What the file ``.identity`` says there.
        folder: In which the command was given.
        settings: Environment variables that the cell should find.
        version: Of the harness that asks.
    """

    job: Job
    device: str
    threads: int | None
    told: Path
    cache: Path
    mark: str
    folder: Path
    settings: Mapping[str, str]
    version: str


def folder_of(job: Job) -> Path:
    """Where what an executor must know of a cell is kept, beside the experiment's runs."""
    return job.folder.absolute().parent.parent / CELLS / job.id


def errand(job: Job, *, device: str, threads: int | None, name: str) -> Errand:
    """What to ask of another machine; ``name`` is that of the file into which it tells, which is made anew.

    Raises:
        OutputError: The file or the cache cannot be written.
    """
    told = folder_of(job) / name
    files.write_text(told, "")
    cache = home().absolute()
    return Errand(
        job=replace(job, folder=job.folder.absolute()),
        device=device,
        threads=threads,
        told=told,
        cache=cache,
        mark=_mark_of(cache),
        folder=Path.cwd(),
        settings=_settings(cache, threads),
        version=version(),
    )


def _settings(cache: Path, threads: int | None) -> dict[str, str]:
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_SETTINGS) and not name.endswith(_SECRET)
    }
    found["HARNESS_HOME"] = str(cache)
    return found if threads is None else {**found, "OMP_NUM_THREADS": str(threads)}


def version() -> str:
    """Of the harness, with what decides its numbers."""
    return f"{__version__} (engine {ENGINE_VERSION}, training {TRAINING_VERSION})"


def _mark_of(cache: Path) -> str:
    """What tells this cache from every other one."""
    path = cache / _MARK
    try:
        if not path.exists():
            # Linked when it is whole, so that another experiment that begins now never reads half of it.
            draft = files.temporary_beside(path)
            draft.write_text(uuid.uuid4().hex, encoding="utf-8")
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise files.output_error(cache, error, ADVICE) from error


# On the other machine


def carry_out(errand: Errand) -> Ended:
    """Do a cell on this machine, and tell of it.

    Returns:
        How it ended, which the file says too. Where this machine lacks what it needs, the cell has failed, and so
        would others.

    Raises:
        KeyboardInterrupt: It was stopped; what was done is kept, and the end is not told.
        OSError: Its end could not be told.
    """
    missing = _missing(errand)
    if missing:
        ended = Ended(status="failed", error=missing, stops=True)
    else:
        os.chdir(errand.folder)
        # Torch, transformers and the hub read these when they are loaded, and a new process has none of them.
        os.environ.update(errand.settings)
        ended = _done(errand)
    if errand.told.exists():
        say(errand.told, ("ended", asdict(ended)))
    return ended


def _done(errand: Errand) -> Ended:
    tell = partial(_mention, errand.told)
    tell(("started", f"{errand.device} of {platform.node()}"))
    # Torch comes with this, and only here.
    from harness.cellwork import carry_out as carry_out_cell
    from harness.engine.hardware import limit_threads

    limit_threads(errand.threads)
    job = errand.job
    _wait_until_free(job.folder)
    return carry_out_cell(
        replace(job, conditions=replace(job.conditions, device=errand.device)), Teller(tell)
    )


def _missing(errand: Errand) -> str:
    """What this machine does not share with the one that asks; empty where all is well."""
    if errand.version != version():
        return f"{platform.node()} has harness {version()}, and the harness that asks is {errand.version}; install one everywhere"
    experiment = errand.told.parent.parent.parent
    wanted = {
        f"the experiment's folder {experiment}": errand.told.is_file(),
        f"the cache {errand.cache} (HARNESS_HOME)": _reads(errand.cache / _MARK, errand.mark),
        f"the folder {errand.folder}, in which the command was given": errand.folder.is_dir(),
    }
    unseen = [name for name, seen in wanted.items() if not seen]
    if not unseen:
        return ""
    return f"{platform.node()} does not see {' nor '.join(unseen)}; all machines must share them"


def _reads(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except OSError:
        return False


def _wait_until_free(folder: Path) -> None:
    """Wait a while for a process that had this cell before and is dying; the cell itself tells where that does not help."""
    if folder.is_dir():
        with contextlib.suppress(Timeout, OSError), FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            pass


# What is told


def say(path: Path, told: Told) -> None:
    """Add a line to a file; raises OSError where that cannot be done."""
    line = json.dumps(told, ensure_ascii=False).encode() + b"\n"
    # Opened and closed each time, so that others see the line on a network file system too.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _mention(path: Path, told: Told) -> None:
    """Tell how it goes on; a cell does not fail because that cannot be told."""
    with contextlib.suppress(OSError):
        say(path, told)


@dataclass(kw_only=True)
class Ear:
    """Reads what a cell tells, from where it read before."""

    job: Job
    path: Path
    ended: Ended | None = None
    _read: int = field(default=0)

    def events(self) -> Iterator[Event]:
        """What was told since; a line that is not whole yet is left for later, one that never became whole is left out."""
        for told in self._lines():
            if told[0] == "ended":
                self.ended = Ended(**told[1])
                yield Event(job=self.job, ended=self.ended)
                return
            yield Event(job=self.job, told=told)

    def last_end(self) -> Ended | None:
        """How it ended, of what is there already; None where it has not."""
        ear = Ear(job=self.job, path=self.path)
        for _ in ear.events():
            pass
        return ear.ended

    def _lines(self) -> Iterator[Told]:
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._read)
                text = stream.read()
        except OSError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                yield tuple(json.loads(line))
