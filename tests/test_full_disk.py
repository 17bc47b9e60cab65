"""A disk that fills up and a cache that may only be read: real file systems, so these tests need the right to mount.

Without it they are skipped, and say so; ``test_files.py``, ``test_trainstate.py`` and ``test_run_command.py`` let single
writes fail everywhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recipetexts import TINY

from harness import packing

Cli = Callable[..., Any]
HYPER = (
    "--hyper",
    "max_steps=2",
    "--hyper",
    "batch_size=8",
    "--hyper",
    "warmup=0",
    "--data",
    "sample",
    "--device",
    "cpu",
)
EVAL = ("eval", "-m", "sample", "-t", "tatoeba,panx", "-l", "de,sw", *HYPER)
TRAIN = ("train", "-m", "sample", "-t", "copa", *HYPER)


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A small file system of its own."""

    folder: Path

    def set(self, options: str) -> None:
        """Mount it anew, e.g. ``size=64m`` or ``ro``; what it holds stays."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder],
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("there is no command 'mount' here; a full disk and a read-only cache are not tested")
    if mounted.returncode:
        pytest.skip(
            f"no file system can be mounted here ({mounted.stderr.strip()}); a full disk is not tested"
        )
    yield Disk(folder=folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def on_disk(
    disk: Disk, isolated: Callable[..., Path], sample_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Path]:
    """Gives the function that changes to a cache on that disk, with the sample model and nothing else."""

    def change() -> Path:
        home = disk.folder / "home"
        home.mkdir()
        (home / "models").symlink_to(sample_model.parent, target_is_directory=True)
        monkeypatch.setenv("HARNESS_HOME", str(home))
        monkeypatch.setenv("HARNESS_SAVE_SECONDS", "0")
        return home

    return change


def content(folder: Path) -> dict[str, bytes]:
    """Records, predictions and weights, byte for byte."""
    paths = [*folder.rglob("records.jsonl"), *folder.rglob("*.parquet"), *folder.rglob("*.safetensors")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def whole(cli: Cli, isolated: Callable[..., Path], tmp_path: Path) -> dict[str, bytes]:
    """What the evaluation leaves in its output folder where nothing is in its way."""
    isolated("undisturbed-home")
    done = cli(*EVAL, "-o", tmp_path / "undisturbed")
    assert done.code == 0, done.err
    return content(tmp_path / "undisturbed")


def assert_told(done: Any, *words: str) -> None:
    """One line of complaint, exit code 2, no traceback."""
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert done.complaint.startswith("harness: ")
    assert all(word in done.complaint for word in words), done.complaint


def slow(*values: Any) -> Any:
    """Marks what only the long run does."""
    return pytest.param(*values, marks=pytest.mark.full)


# Room for a lock and little more, for vectors, for a state of a training, for two of them.
@pytest.mark.parametrize("size", [slow("8k"), slow("300k"), "3m", slow("9m")])
def test_a_full_cache_is_one_line_and_the_same_command_goes_on_with_more_room(
    cli: Cli, disk: Disk, whole: dict[str, bytes], on_disk: Callable[[], Path], tmp_path: Path, size: str
) -> None:
    home, out = on_disk(), tmp_path / "out"
    disk.set(f"size={size}")
    assert_told(cli(*EVAL, "-o", out), "the disk is full", str(home))
    before = content(out)
    disk.set("size=64m")
    done = cli(*EVAL, "-o", out)
    assert done.code == 0, done.err
    assert content(out) == whole
    assert {name: data for name, data in before.items() if name.endswith(".parquet")}.items() <= whole.items()
    assert not list(home.glob("checkpoints/*.work"))


@pytest.mark.parametrize("size", [slow("4k"), slow("16k"), "48k"])
def test_a_full_output_folder_is_one_line_and_the_same_command_goes_on_with_more_room(
    cli: Cli, disk: Disk, whole: dict[str, bytes], isolated: Callable[..., Path], size: str
) -> None:
    isolated("home")
    out = disk.folder / "out"
    disk.set(f"size={size}")
    assert_told(cli(*EVAL, "-o", out), "the disk is full", str(out))
    disk.set("size=64m")
    done = cli(*EVAL, "-o", out)
    assert done.code == 0, done.err
    assert content(out) == whole
    assert not list(out.rglob("*.tmp"))


def test_a_full_folder_for_a_checkpoint_is_one_line_and_the_same_command_goes_on_with_more_room(
    cli: Cli, disk: Disk, isolated: Callable[..., Path]
) -> None:
    isolated("home")
    out = disk.folder / "trained"
    disk.set("size=300k")
    done = cli(*TRAIN, "-o", out)
    assert_told(done, f"harness: {out}: the disk is full")
    assert not list(disk.folder.iterdir())
    disk.set("size=64m")
    assert cli(*TRAIN, "-o", out).code == 0
    assert content(out)


# Room for a first cell's lock, for its vectors, for a part of what it trains.
@pytest.mark.full
@pytest.mark.parametrize("size", ["8k", "1m", "9m"])
def test_a_full_cache_stops_an_experiment_and_the_same_command_goes_on_with_more_room(
    cli: Cli,
    disk: Disk,
    on_disk: Callable[[], Path],
    isolated: Callable[..., Path],
    tmp_path: Path,
    size: str,
) -> None:
    """Cells are processes of their own, which meet the disk and not a patched function."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY, encoding="utf-8")
    command = ("run", recipe, "--device", "cpu", "-o")
    isolated("undisturbed-home")
    assert cli(*command, tmp_path / "undisturbed").code == 0
    home, out = on_disk(), tmp_path / "out"
    disk.set(f"size={size}")
    assert_told(cli(*command, out), "the disk is full", str(home))
    disk.set("size=64m")
    done = cli(*command, out)
    assert done.code == 0, done.err
    assert content(out) == content(tmp_path / "undisturbed")
    assert not list(home.glob("checkpoints/*.work"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here, a device that is always full")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_what_cannot_be_printed_for_want_of_room_is_one_line(more: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "harness", "tasks", "list", *more]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("harness: standard output")
    assert done.stderr.count("\n") == 1


def test_a_cache_that_may_only_be_read_serves_what_it_holds(
    cli: Cli, disk: Disk, on_disk: Callable[[], Path], tmp_path: Path
) -> None:
    home = on_disk()
    assert cli(*EVAL, "-o", tmp_path / "one").code == 0
    assert cli(*TRAIN, "-o", tmp_path / "trained").code == 0
    disk.set("ro")
    done = cli(*EVAL, "-o", tmp_path / "two")
    assert done.code == 0, done.err
    assert content(tmp_path / "two") == content(tmp_path / "one")
    done = cli(*TRAIN, "-o", tmp_path / "again")
    assert done.code == 0, done.err
    assert content(tmp_path / "again") == content(tmp_path / "trained")
    for number, (command, where) in enumerate(
        (
            ((*EVAL, "-l", "es"), home / "embeddings"),
            ((*EVAL, "-t", "xnli"), home / "checkpoints"),
            ((*TRAIN, "--seed", "5"), home / "checkpoints"),
        )
    ):
        done = cli(*command, "-o", tmp_path / f"more-{number}")
        assert_told(done, f"{where}", "cannot be written", "HARNESS_HOME")
        assert not re.search("(training|tuning) on", done.err)


def test_an_empty_cache_that_may_only_be_read_is_one_line(
    cli: Cli, disk: Disk, isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(disk.folder / "home"))
    disk.set("ro")
    assert_told(cli(*EVAL, "-o", tmp_path / "out"), str(disk.folder), "cannot be written", "HARNESS_HOME")


def test_an_output_folder_that_may_only_be_read_is_one_line(
    cli: Cli, disk: Disk, isolated: Callable[..., Path]
) -> None:
    disk.set("ro")
    assert_told(cli(*EVAL, "-o", disk.folder / "out"), str(disk.folder), "cannot be written", "--output")


def test_two_processes_that_note_checksums_at_once_lose_none(
    isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reads the manifest, adds its own and writes it; without a lock the slower one would drop the other's."""
    isolated()
    read = packing.read_manifest

    def slowly(path: Path) -> list[packing.Item]:
        found = read(path)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(packing, "read_manifest", slowly)
    items = [packing.Item(task=f"t{n}", origin="a/b@c", path="x", bytes=1, sha256="0") for n in range(6)]
    threads = [threading.Thread(target=packing._note, args=([item],)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(packing.manifest_path()) == items
