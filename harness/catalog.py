"""What the loaded plugins brought, by name, and what became of each plugin. Knows names; finds and loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.baselines import Baseline
from harness.encoders import EncoderAdapter
from harness.errors import UnknownNameError, UsageError
from harness.metric import Metric
from harness.recipetext import RecipeText
from harness.spec import TaskSpec
from harness.suite import Suite
from harness.wording import kind_and_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One plugin and how loading it went.

    Attributes:
        name: Entry point's name, or the module's for ``-p``.
        module: Dotted module or file path.
        distribution: Distribution it came with, ``"-"`` for ``-p``.
        version: Of the distribution.
        status: ``blocked`` means not asked for or switched off.
        error: Why it was set aside.
        tasks: Names it brought, likewise ``metrics``, ``suites``, ``encoders``, ``recipes``
            and ``baselines``.
        seconds: Time to import it and call its hooks.
    """

    name: str
    module: str
    distribution: str
    version: str
    status: Literal["loaded", "failed", "blocked"] = "loaded"
    error: str = ""
    tasks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    seconds: float = 0.0

    def blame(self, error: BaseException) -> str:
        """One line on an error that its code raised."""
        return f"plugin {self.name} of {self.distribution} {self.version} raised {kind_and_text(error)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything that the loaded plugins brought, and who brought it."""

    plugins: tuple[Plugin, ...]
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    suites: Mapping[str, Suite] = field(default_factory=dict)
    encoders: Mapping[str, EncoderAdapter] = field(default_factory=dict)
    recipes: Mapping[str, RecipeText] = field(default_factory=dict)
    baselines: Mapping[str, Baseline] = field(default_factory=dict)

    def owner(self, task: str) -> Plugin:
        """The plugin that brought a task."""
        return next(plugin for plugin in self.plugins if plugin.status == "loaded" and task in plugin.tasks)

    def task(self, name: str) -> TaskSpec:
        """A task by name.

        Raises:
            UnknownNameError: With the nearest names, and the plugins that were set aside.
        """
        if name not in self.tasks:
            if name in self.suites:
                tasks = ", ".join(entry.task for entry in self.suites[name].tasks)
                raise UsageError(f"'{name}' is a suite, not a task; its tasks are {tasks}")
            raise UnknownNameError("task", name, [*self.tasks, *self.suites], self._set_aside())
        return self.tasks[name]

    def metric(self, name: str) -> Metric:
        """A metric by name; raises UnknownNameError."""
        if name not in self.metrics:
            raise UnknownNameError("metric", name, self.metrics, self._set_aside())
        return self.metrics[name]

    def encoder(self, model_type: str) -> EncoderAdapter | None:
        """The adapter for a model type, None where the family needs none."""
        return next((found for found in self.encoders.values() if model_type in found.model_types), None)

    def _set_aside(self) -> str:
        failed = [plugin for plugin in self.plugins if plugin.status == "failed"]
        told = "; ".join(f"{plugin.name} of {plugin.distribution}: {plugin.error}" for plugin in failed)
        return f"plugins set aside: {told}" if told else ""
