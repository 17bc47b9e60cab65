"""An experiment folder as it lies on disk, read with patience: what is missing is told, not raised. Knows no number.

``experiment.json`` says what was asked for and how each cell ended; ``runs/<id>/`` is a run folder with ``lineage.json``
beside ``run.json``. A cell is a model, a setting of intermediate training and a seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, OutputError
from harness.names import EXPERIMENT
from harness.records import Record
from harness.run import open_run

MANIFEST = EXPERIMENT
LINEAGE = "lineage.json"
DEVELOPMENT = "development.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way of intermediate training, a column of the matrix.

    Attributes:
        name: As it stands in tables.
        axes: What it is, for plots: ``size``, ``order`` and others.
        stages: As the recipe has them; empty for the baseline.
    """

    name: str
    axes: Mapping[str, str] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()

    @property
    def baseline(self) -> bool:
        """Whether nothing is trained before the target."""
        return not self.stages


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """One cell as far as it got.

    Attributes:
        status: ``done``, ``partial``, ``failed`` or ``missing``; a run folder that cannot be read makes it ``missing``.
        error: What went wrong, in one line; empty where nothing did.
        seconds: It took, None where it is not written.
        folder: Of the run.
        records: Scored numbers, of those units that are done.
        failures: ``task/language`` to its error, of units that failed inside the run.
        lineage: ``training.json`` of each phase from the base to the last.
        dev_error: Why English dev could not be scored, in one line; empty where it was or was not asked for.
    """

    id: str
    model: str
    setting: str
    seed: int
    status: str
    error: str
    seconds: float | None
    folder: Path
    records: Sequence[Record] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    lineage: Sequence[Mapping[str, Any]] = ()
    dev_error: str = ""

    @property
    def title(self) -> str:
        """Model, setting and seed in one line."""
        return f"{self.model}, {self.setting}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Everything that lies in an experiment folder.

    Attributes:
        recipe: As written, with its name, title and question.
        models: Names in order; ``settings`` likewise.
        cells: In the order of the manifest.
        families: Model to its kind, e.g. ``dense``; of those that have one.
        manifest: All of ``experiment.json``.
    """

    folder: Path
    recipe: Mapping[str, Any]
    models: Sequence[str]
    settings: Sequence[Setting]
    cells: Sequence[CellRun]
    manifest: Mapping[str, Any]
    families: Mapping[str, str] = field(default_factory=dict)

    def analysed(self, name: str) -> bool:
        """Whether the recipe asks for an analysis; one that names none asks for all."""
        named = self.recipe.get("analyses")
        return named is None or name in named

    @property
    def title(self) -> str:
        """One line."""
        return str(self.recipe.get("title") or self.recipe.get("name") or self.folder.name)

    @property
    def baseline(self) -> Setting | None:
        """The setting without stages, the first of several; None where the recipe has none."""
        return next((setting for setting in self.settings if setting.baseline), None)

    @property
    def treated(self) -> list[Setting]:
        """The settings that are held against the baseline."""
        baseline = self.baseline
        return [setting for setting in self.settings if baseline is None or setting.name != baseline.name]

    def of(self, model: str, setting: str) -> list[CellRun]:
        """The cells of a model and a setting, in order of seed."""
        found = [cell for cell in self.cells if cell.model == model and cell.setting == setting]
        return sorted(found, key=lambda cell: cell.seed)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were asked for."""
        return tuple(sorted({cell.seed for cell in self.cells}))


def read_experiment(folder: Path) -> Experiment:
    """Read an experiment folder, whatever of it is there.

    Raises:
        OutputError: ``experiment.json`` is missing, damaged or of another schema. (A damaged run is told in its cell.)
    """
    path = folder / MANIFEST
    manifest = _json(path)
    if not isinstance(manifest, dict) or manifest.get("kind") != "experiment":
        raise OutputError(f"{path}: not the manifest of an experiment")
    if manifest.get("schema") != SCHEMA_VERSION:
        raise OutputError(
            f"{path}: schema version {manifest.get('schema')}, this harness reads {SCHEMA_VERSION}"
        )
    try:
        settings = [_setting(value) for value in manifest.get("settings", ())]
        cells = [_cell(folder, value) for value in manifest.get("cells", ())]
        models = {str(value["name"]): str(value.get("family") or "") for value in manifest.get("models", ())}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutputError(f"{path}: damaged ({type(error).__name__}: {error})") from error
    named = dict.fromkeys([setting.name for setting in settings])
    strangers = dict.fromkeys(cell.setting for cell in cells if cell.setting not in named)
    if strangers:
        raise OutputError(f"{path}: damaged, cells name settings that it lacks: {', '.join(strangers)}")
    return Experiment(
        folder=folder,
        recipe=manifest.get("recipe") or {},
        models=list(dict.fromkeys([*models, *(cell.model for cell in cells)])),
        settings=settings,
        cells=cells,
        manifest=manifest,
        families={model: family for model, family in models.items() if family},
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path}: not readable ({error}); run the recipe again into another folder"
        ) from error


def _setting(value: Mapping[str, Any]) -> Setting:
    axes = {str(name): str(text) for name, text in (value.get("axes") or {}).items()}
    return Setting(name=str(value["name"]), axes=axes, stages=list(value.get("stages") or ()))


def _cell(root: Path, value: Mapping[str, Any]) -> CellRun:
    folder = root / str(value.get("folder") or f"runs/{value['id']}")
    status, error = str(value.get("status") or "missing"), str(value.get("error") or "")
    records: Sequence[Record] = ()
    failures: Mapping[str, str] = {}
    try:
        run = open_run(folder)
        records = run.records
        failures = {f"{task}/{language}": told for (task, language, _), told in run.failures.items()}
    except HarnessError as problem:
        if status in ("done", "partial"):
            status, error = "missing", str(problem)
    lineage, problem_of_lineage = _lineage(folder / LINEAGE)
    seconds = value.get("seconds")
    return CellRun(
        id=str(value["id"]),
        model=str(value["model"]),
        setting=str(value["setting"]),
        seed=int(value.get("seed") or 0),
        status=status,
        error="; ".join(text for text in (error, problem_of_lineage) if text),
        seconds=None if seconds is None else float(seconds),
        folder=folder,
        records=records,
        failures=failures,
        lineage=lineage,
        dev_error=_dev_error(folder / DEVELOPMENT),
    )


def _dev_error(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        value = _json(path)
    except OutputError as error:
        return str(error)
    return (
        " ".join(str(value.get("error") or "").split()) if isinstance(value, dict) else f"{path}: no object"
    )


def _lineage(path: Path) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The phases of intermediate training, and what is wrong with the file."""
    if not path.is_file():
        return (), ""
    try:
        value = _json(path)
    except OutputError as error:
        return (), str(error)
    if not isinstance(value, list) or not all(isinstance(phase, dict) for phase in value):
        return (), f"{path}: not a list of phases"
    return [phase for phase in value if phase.get("kind", "intermediate") == "intermediate"], ""
