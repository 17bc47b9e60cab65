"""Killed -9 at random moments, the same command ends in the same weights, predictions and records, bit for bit.

A moment is one of the writes, renames, removals and reads of a command, or a little after it: load-independent, and
dense where something may be half done. Commands run in forks of one interpreter (``nursery.py``); tests with processes of
their own are in ``test_resume.py``, ``test_trainstate.py`` and ``test_executors.py``. ``HARNESS_KILL_SEED`` repeats a
failure.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
from recipetexts import TINY

TESTS = Path(__file__).parent
SEED = int(os.environ.get("HARNESS_KILL_SEED", random.SystemRandom().randrange(10**6)))
HYPER = "--hyper max_steps=4 --hyper batch_size=4 --hyper warmup=0 --hyper evaluate_every=2"
TRAIN = f"train -m sample --data sample --device cpu --mlm-share 0.4 --seed 3 {HYPER} -o out"
COMMANDS = {
    "eval": f"eval -m sample -t tatoeba,xnli,panx -l en,de,sw --data sample --device cpu {HYPER} -o out",
    "multitask": f"{TRAIN} -t mnli,squad_v1 --train-size mnli=12 --train-size squad_v1=8",
    "sequential": f"{TRAIN} -t copa,mnli --train-size mnli=12 --schedule sequential",
    "run": "run recipe.yaml --device cpu --workers 2 -o out",
}


@dataclass(kw_only=True)
class Nursery:
    """The interpreter whose forks carry out commands."""

    process: subprocess.Popen[str]

    def carry_out(self, folder: Path, command: str, moment: Mapping[str, Any] | None = None) -> int:
        """The exit code of a command, negative where it was killed; its files lie in a folder."""
        return self.together(folder, [command], moment)[0]

    def together(
        self, folder: Path, commands: Sequence[str], moment: Mapping[str, Any] | None = None
    ) -> list[int]:
        """The exit codes of commands that run at once, with one cache; the moment is the first one's."""
        orders = [
            self._order(folder, command, None if number else moment)
            for number, command in enumerate(commands)
        ]
        stdin, stdout = pipes(self.process)
        stdin.write(json.dumps(orders) + "\n")
        stdin.flush()
        return [int(code) for code in stdout.readline().split()]

    def _order(self, folder: Path, command: str, moment: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            "arguments": command.split(),
            "environment": {"HARNESS_HOME": str(folder / "home"), "HARNESS_SAVE_SECONDS": "0"},
            "folder": str(folder),
            "log": str(folder / "log"),
            "counts": str(folder / "events"),
            "moment": moment,
        }


def pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def script(name: str, *arguments: object, threads: int = 1) -> subprocess.Popen[str]:
    environment = {key: text for key, text in os.environ.items() if not key.startswith(("HARNESS_", "HF_"))}
    return subprocess.Popen(
        [sys.executable, str(TESTS / name), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
    )


@contextmanager
def opened(threads: int) -> Iterator[Nursery]:
    with script("nursery.py", threads=threads) as process:
        assert pipes(process)[1].readline() == "ready\n"
        yield Nursery(process=process)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Within, another process opens every file that appears below a folder; it must have met whole ones only."""
    watcher = script("watcher.py", folder)
    try:
        yield
    finally:
        said, _ = watcher.communicate()
    *complaints, files = said.strip().splitlines()
    assert complaints == []
    assert int(files) > 10


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with opened(threads=1) as nursery:
        yield nursery


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What an undisturbed command leaves, and how many events its processes have, by role."""

    content: Mapping[str, bytes]
    events: Mapping[str, int]


@pytest.fixture(scope="module")
def undisturbed(
    nursery: Nursery, sample_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Whole]:
    """The outcome of a command by name, computed once."""
    known: dict[str, Whole] = {}

    def get(name: str) -> Whole:
        if name not in known:
            folder = place(tmp_path_factory.mktemp(name), sample_model)
            code = nursery.carry_out(folder, COMMANDS[name])
            assert code == 0, (folder / "log").read_text(encoding="utf-8")
            events = {role: (folder / f"events.{role}").stat().st_size for role in ("main", "worker")}
            known[name] = Whole(content=content(folder), events=events)
        return known[name]

    return get


def place(folder: Path, model: Path) -> Path:
    """A folder to run in, with a cache that has the sample model and nothing else."""
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "models").symlink_to(model.parent, target_is_directory=True)
    (folder / "recipe.yaml").write_text(TINY, encoding="utf-8")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Weights, records and predictions, byte for byte; and of each report that it is there."""
    patterns = (
        "home/checkpoints/**/*.safetensors",
        "out/**/*.safetensors",
        "out/**/*.parquet",
        "out/**/records.jsonl",
    )
    paths = {path for pattern in patterns for path in folder.glob(pattern)}
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}
    return {**found, **{path.relative_to(folder).as_posix(): b"" for path in folder.glob("out/**/report.*")}}


def finished(folder: Path) -> dict[str, int]:
    """Checkpoints that are whole, and predictions of units that have a record, with the times of their making."""
    # A draft has the file too, a moment before it is renamed; "[!.]" leaves it out.
    paths = list(folder.glob("home/checkpoints/[!.]*/training.json"))
    for records in folder.glob("out/**/records.jsonl"):
        lines = map(json.loads, records.read_text(encoding="utf-8").splitlines())
        for told in lines:
            seed = "none" if told["seed"] is None else told["seed"]
            unit = Path(told["task"], told["variant"], f"seed-{seed}", f"{told['language']}.parquet")
            paths.append(records.parent / "predictions" / unit)
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in paths}


def litter(folder: Path) -> list[str]:
    """What only an unfinished command may have lying about; vectors are shared, and so their drafts stay for a day."""
    odd = [
        *folder.glob("home/checkpoints/*.work"),
        *folder.glob("home/checkpoints/.*"),
        *folder.glob(".out*"),
    ]
    odd += folder.glob("out/**/.*.tmp")
    return [path.relative_to(folder).as_posix() for path in odd]


@dataclass(kw_only=True)
class Trial:
    """A command that is killed once or several times and then left alone."""

    nursery: Nursery
    folder: Path
    command: str
    told: list[str] = field(default_factory=list)
    kills: int = 0

    def kill(self, draw: random.Random, events: Mapping[str, int]) -> None:
        """Kill it at a moment that is drawn, if it comes so far; what it had finished before is not made again."""
        role = draw.choice([role for role, number in events.items() if number])
        delay = draw.choice([0.0, draw.uniform(0.001, 0.1)])
        moment = {"role": role, "event": draw.randint(1, events[role]), "delay": delay}
        before = finished(self.folder)
        code = self.nursery.carry_out(self.folder, self.command, moment)
        self.told.append(f"{moment} → {code}")
        # A worker that is killed fails its cell, and the experiment goes on to its end.
        self.kills += code == -9 or (role == "worker" and code == 3)
        assert code in (-9, 0, 3 if role == "worker" else 0), self
        self.assert_kept(before)

    def finish(self, whole: Mapping[str, bytes]) -> None:
        """Look at what lies there half done, then let the command finish."""
        for command in ("report out", "gate out --baseline out"):
            assert self.nursery.carry_out(self.folder, command) in (0, 1, 2, 3, 4, 5), self
        before = finished(self.folder)
        assert self.nursery.carry_out(self.folder, self.command) == 0, self
        self.assert_kept(before)
        found = content(self.folder)
        assert found.keys() == whole.keys(), self
        assert [name for name in whole if found[name] != whole[name]] == [], self
        assert litter(self.folder) == [], self

    def assert_kept(self, before: Mapping[str, int]) -> None:
        after = finished(self.folder)
        assert {name: after.get(name) for name in before} == before, self

    def __repr__(self) -> str:
        log = (self.folder / "log").read_text(encoding="utf-8")
        return f"HARNESS_KILL_SEED={SEED}; {self.command}; {'; '.join(self.told)}\n{log[-3000:]}"


def assert_same_after(
    kills: int, name: str, nursery: Nursery, model: Path, folder: Path, whole: Whole
) -> None:
    """Kill a command so many times in all, over trials of one to three kills each; a reader watches throughout."""
    draw = random.Random(f"{SEED} {name}")
    done = number = 0
    with watched(folder):
        while done < kills:
            number += 1
            trial = Trial(nursery=nursery, folder=place(folder / str(number), model), command=COMMANDS[name])
            for _ in range(draw.randint(1, 3)):
                trial.kill(draw, whole.events)
            trial.finish(whole.content)
            done += trial.kills
            if number > 1:
                shutil.rmtree(trial.folder, ignore_errors=True)


@pytest.mark.full
@pytest.mark.parametrize("name", ["eval", "multitask"])
def test_a_killed_command_goes_on_to_the_same_bits(
    nursery: Nursery, undisturbed: Callable[[str], Whole], sample_model: Path, tmp_path: Path, name: str
) -> None:
    assert_same_after(2, name, nursery, sample_model, tmp_path, undisturbed(name))


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "kills"), [("eval", 18), ("multitask", 14), ("sequential", 14), ("run", 10)]
)
def test_many_kills_leave_no_trace(
    nursery: Nursery,
    undisturbed: Callable[[str], Whole],
    sample_model: Path,
    tmp_path: Path,
    name: str,
    kills: int,
) -> None:
    """In all 56, in every phase: reading, training, saving, embedding, writing, reporting."""
    assert_same_after(kills, name, nursery, sample_model, tmp_path, undisturbed(name))


def elsewhere(command: str, number: int) -> str:
    """The command with an output folder of its own."""
    assert " -o out" in command
    return command.replace(" -o out", f" -o out-{number}")


@pytest.mark.full
def test_commands_at_once_on_an_empty_cache_do_not_disturb_each_other(
    nursery: Nursery, undisturbed: Callable[[str], Whole], tmp_path: Path
) -> None:
    """All of them want the sample model built, two of them the same trainings and vectors; one process trains each."""
    (tmp_path / "home").mkdir()
    names = ("eval", "eval", "multitask", "multitask")
    commands = [elsewhere(COMMANDS[name], number) for number, name in enumerate(names)]
    with watched(tmp_path):
        codes = nursery.together(tmp_path, commands)
    assert codes == [0] * 4, (tmp_path / "log").read_text(encoding="utf-8")
    for number, name in enumerate(names):
        whole = {path: data for path, data in undisturbed(name).content.items() if path.startswith("out/")}
        found = {path.replace(f"out-{number}/", "out/"): data for path, data in outputs(tmp_path, number)}
        assert found == whole, number
    log = (tmp_path / "log").read_text(encoding="utf-8")
    trained = len(re.findall(r"^harness: (?:training|fine-tuning) on ", log, re.MULTILINE))
    assert trained == len(list(tmp_path.glob("home/checkpoints/*/training.json"))) == 3


@pytest.mark.full
def test_experiments_at_once_on_one_cache_do_not_disturb_each_other(
    nursery: Nursery, undisturbed: Callable[[str], Whole], sample_model: Path, tmp_path: Path
) -> None:
    """Both have the same cells, each of them two workers; what one trains the other finds."""
    folder, whole = place(tmp_path / "home-of-both", sample_model), undisturbed("run")
    with watched(folder):
        codes = nursery.together(folder, [elsewhere(COMMANDS["run"], number) for number in (0, 1)])
    log = (folder / "log").read_text(encoding="utf-8")
    assert codes == [0, 0], log
    expected = {path: data for path, data in whole.content.items() if path.startswith("out/")}
    for number in (0, 1):
        found = {path.replace(f"out-{number}/", "out/"): data for path, data in outputs(folder, number)}
        assert found == expected, number
    checkpoints = {path: data for path, data in whole.content.items() if path.startswith("home/checkpoints/")}
    found = {path: data for path, data in content(folder).items() if path.startswith("home/checkpoints/")}
    assert found == checkpoints


def outputs(folder: Path, number: int) -> Iterator[tuple[str, bytes]]:
    """The outcome of one of several commands."""
    for path in (folder / f"out-{number}").rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".safetensors", ".parquet") or path.name == "records.jsonl":
            yield name, path.read_bytes()
        elif path.name.startswith("report."):
            yield name, b""


@pytest.mark.full
def test_who_waits_for_a_training_takes_it_up_when_its_process_is_killed(
    nursery: Nursery, undisturbed: Callable[[str], Whole], sample_model: Path, tmp_path: Path
) -> None:
    folder, whole = place(tmp_path / "home-of-both", sample_model), undisturbed("multitask")
    moment = {"role": "main", "event": whole.events["main"] * 2 // 3, "delay": 0.0}
    commands = [COMMANDS["multitask"], elsewhere(COMMANDS["multitask"], 1)]
    assert nursery.together(folder, commands, moment) == [-9, 0]
    weights = [path for path in whole.content if path.startswith("out/") and path.endswith(".safetensors")]
    assert weights
    for path in weights:
        assert (folder / path.replace("out/", "out-1/")).read_bytes() == whole.content[path]


@pytest.mark.full
@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_an_experiment_goes_on_with_other_workers_to_the_same_records(
    sample_model: Path, tmp_path: Path, first: int, then: int
) -> None:
    """The shares of the cores stay those that it began with, for training depends on them in its last bits."""
    command = COMMANDS["run"].replace("--workers 2", "--workers {}")
    with opened(threads=2) as nursery:
        whole = place(tmp_path / "whole", sample_model)
        assert nursery.carry_out(whole, command.format(first)) == 0
        half = place(tmp_path / "half", sample_model)
        # Experiment and cells are begun; the first cell is not done.
        moment = {"role": "worker", "event": 12, "delay": 0.0}
        assert nursery.carry_out(half, command.format(first), moment) == 3
        assert nursery.carry_out(half, command.format(then)) == 0
    assert content(half) == content(whole)
    assert json.loads((half / "out" / "experiment.json").read_text(encoding="utf-8"))["workers"] == first
