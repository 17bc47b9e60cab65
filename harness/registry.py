"""From installed distributions to a Catalog: finds plugins, loads each on its own, sets broken ones aside.

Knows hooks and entry points, but no task by name and no heavy library.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeAlias

import pluggy

from harness import digests, hooks
from harness.baselines import Baseline
from harness.catalog import Catalog, Plugin
from harness.encoders import EncoderAdapter
from harness.errors import PluginError
from harness.metric import Metric
from harness.recipetext import RecipeText
from harness.spec import TaskSpec
from harness.suite import Suite
from harness.version import DISTRIBUTION
from harness.wording import kind_and_text

GROUP = "harness"


@dataclass(frozen=True, slots=True)
class _Candidate:
    plugin: Plugin
    load: Callable[[], ModuleType]


def load_catalog(extra: Sequence[str] = (), *, others: bool = True) -> Catalog:
    """Load plugins and collect what they bring.

    Args:
        extra: Modules or ``.py`` files to load besides the installed ones (``-p``).
        others: Whether plugins of other distributions than the harness's own are loaded (``--no-plugins`` says no).

    ``HARNESS_LOAD_PLUGINS`` limits the installed plugins to a comma-separated list of names (empty: none);
    ``HARNESS_DISABLE_PLUGINS`` leaves names out. A plugin that fails to import, breaks a hook or clashes in a name with
    one that came before is set aside with the reason; the others go on. Installed plugins come in the order of
    distribution and name, those of ``extra`` after them.

    Raises:
        PluginError: A plugin of ``extra`` could not be loaded (it was asked for by name).
    """
    candidates = [item for item in _installed() if others or item.plugin.distribution == DISTRIBUTION]
    candidates = [_blocked_by_environment(candidate) for candidate in _without_twins(candidates)]
    # A module that an entry point names is loaded already.
    known = {item.plugin.module for item in candidates if item.plugin.status == "loaded"}
    candidates += [_from_path(name) for name in dict.fromkeys(extra) if name not in known]
    state = _State()
    for candidate in candidates:
        state.add(candidate)
    for plugin in state.plugins:
        if plugin.module in extra and plugin.status == "failed":
            raise PluginError(f"plugin {plugin.module}: {plugin.error}")
    return state.catalog()


def _installed() -> list[_Candidate]:
    """One scan of the environment's entry points."""
    points = metadata.entry_points(group=GROUP)
    # A distribution parses its metadata each time that it is asked, and has many entry points.
    known = {dist: (dist.name, dist.version) for dist in {point.dist for point in points} if dist}
    found = []
    for point in points:
        distribution, version = known[point.dist] if point.dist else ("?", "?")
        plugin = Plugin(name=point.name, module=point.value, distribution=distribution, version=version)
        found.append(_Candidate(plugin, point.load))
    distinct = {_precedence(item): item for item in found}
    return [distinct[key] for key in sorted(distinct)]


def _precedence(candidate: _Candidate) -> tuple[bool, str, str, str]:
    """The harness's own plugins come first, so that no other distribution can take their names."""
    plugin = candidate.plugin
    return plugin.distribution != DISTRIBUTION, plugin.distribution, plugin.name, plugin.module


def _without_twins(candidates: list[_Candidate]) -> list[_Candidate]:
    """Refuse a plugin whose name one before it has, naming both distributions."""
    kept: dict[str, Plugin] = {}
    checked = []
    for candidate in candidates:
        plugin = candidate.plugin
        first = kept.setdefault(plugin.name, plugin)
        if first is not plugin:
            error = (
                f"the plugin name '{plugin.name}' of {plugin.distribution} {plugin.version} is already that of "
                f"{first.module} of {first.distribution} {first.version}"
            )
            plugin = replace(plugin, status="failed", error=error)
        checked.append(_Candidate(plugin, candidate.load))
    return checked


def _blocked_by_environment(candidate: _Candidate) -> _Candidate:
    only = os.environ.get("HARNESS_LOAD_PLUGINS")
    never = _names(os.environ.get("HARNESS_DISABLE_PLUGINS", ""))
    name = candidate.plugin.name
    if name in never:
        reason = "named by HARNESS_DISABLE_PLUGINS"
    elif only is not None and name not in _names(only):
        reason = "not named by HARNESS_LOAD_PLUGINS"
    else:
        return candidate
    return _Candidate(replace(candidate.plugin, status="blocked", error=reason), candidate.load)


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _from_path(name: str) -> _Candidate:
    stem = Path(name).stem if name.endswith(".py") else name
    load = (
        (lambda: _import_file(Path(name)))
        if name.endswith(".py")
        else (lambda: importlib.import_module(name))
    )
    return _Candidate(Plugin(name=stem, module=name, distribution="-", version="-"), load)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    name = f"harness_plugin_file_{path.stem}_{digests.of_value(str(path.resolve()), 8)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_Noun: TypeAlias = TaskSpec | Metric | Suite | EncoderAdapter | RecipeText | Baseline


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of value that plugins bring: its name, the hook that gives it, where a Plugin and a Catalog keep it."""

    name: str
    hook: str
    noun: type[_Noun]
    kept: str


_KINDS = (
    _Kind("task", "harness_tasks", TaskSpec, "tasks"),
    _Kind("metric", "harness_metrics", Metric, "metrics"),
    _Kind("suite", "harness_suites", Suite, "suites"),
    _Kind("encoder", "harness_encoders", EncoderAdapter, "encoders"),
    _Kind("recipe", "harness_recipes", RecipeText, "recipes"),
    _Kind("baseline", "harness_baselines", Baseline, "baselines"),
)


class _Manager(pluggy.PluginManager):
    """Looks for hooks among the functions of a module that are marked as one.

    pluggy's own way asks each name in a module with great care, which for 30 modules takes as long as importing ten.
    """

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> pluggy.HookimplOpts | None:
        found = vars(plugin).get(name)
        marked = isinstance(found, FunctionType) and f"{hooks.PROJECT}_impl" in vars(found)
        return super().parse_hookimpl_opts(plugin, name) if marked else None


class _State:
    """What has been collected so far while loading."""

    def __init__(self) -> None:
        self.manager = _Manager(hooks.PROJECT)
        self.manager.add_hookspecs(hooks)
        self.plugins: list[Plugin] = []
        self.found: dict[str, dict[str, Any]] = {kind.kept: {} for kind in _KINDS}
        self.owners: dict[tuple[str, str], Plugin] = {}

    def add(self, candidate: _Candidate) -> None:
        plugin = candidate.plugin
        if plugin.status != "loaded":
            self.plugins.append(plugin)
            return
        start = time.perf_counter()
        try:
            plugin = self._load(plugin, candidate.load)
        # A plugin may raise anything at import, SystemExit included; it must not take the others down.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            if self.manager.has_plugin(_key(plugin)):
                self.manager.unregister(name=_key(plugin))
            plugin = replace(plugin, status="failed", error=kind_and_text(error))
        self.plugins.append(replace(plugin, seconds=time.perf_counter() - start))

    def _load(self, plugin: Plugin, load: Callable[[], ModuleType]) -> Plugin:
        module = load()
        self._check_module(plugin, module)
        self.manager.register(module, _key(plugin))
        self.manager.check_pending()
        brought = {kind.kept: self._collect(plugin, module, kind) for kind in _KINDS}
        self._check_model_types(brought["encoders"])
        if not any(brought.values()):
            raise PluginError(
                f"it implements no hook of the harness ({', '.join(kind.hook for kind in _KINDS)})"
            )
        names: dict[str, Any] = {kept: tuple(found) for kept, found in brought.items()}
        plugin = replace(plugin, **names)
        for kind in _KINDS:
            self.found[kind.kept].update(brought[kind.kept])
            self.owners.update({(kind.name, name): plugin for name in brought[kind.kept]})
        return plugin

    def _check_module(self, plugin: Plugin, module: ModuleType) -> None:
        """Raise PluginError where another plugin is the same module; pluggy would tell of all that it knows."""
        key = self.manager.get_name(module)
        first = next((other for other in self.plugins if _key(other) == key), None)
        if first is not None:
            raise PluginError(
                f"its module {plugin.module} is loaded already, as plugin {first.name} of {first.distribution} "
                f"{first.version}; name it once"
            )

    def _check_model_types(self, encoders: Mapping[str, EncoderAdapter]) -> None:
        """Raise PluginError where a model type would have two adapters."""
        taken = {kind: other.name for other in self.found["encoders"].values() for kind in other.model_types}
        for encoder in encoders.values():
            for kind in encoder.model_types:
                first = taken.setdefault(kind, encoder.name)
                if first != encoder.name:
                    raise PluginError(
                        f"encoder '{encoder.name}' is for model type '{kind}', which encoder '{first}' has already"
                    )

    def _collect(self, plugin: Plugin, module: ModuleType, kind: _Kind) -> dict[str, Any]:
        """What one plugin's hook gives, each value checked; nothing is kept unless all of it is good."""
        others = [other for other in self.manager.get_plugins() if other is not module]
        given: Iterable[Iterable[Any]] = self.manager.subset_hook_caller(kind.hook, others)()
        found: dict[str, Any] = {}
        for value in (value for values in given for value in values):
            if not isinstance(value, kind.noun):
                raise PluginError(
                    f"{kind.hook} gave {type(value).__name__} {value!r:.60}, not {kind.noun.__name__}"
                )
            if value.name in found:
                raise PluginError(f"{kind.name} '{value.name}' is given twice by this plugin")
            if value.name in self.found[kind.kept]:
                other = self.owners[(kind.name, value.name)]
                raise PluginError(
                    f"{kind.name} '{value.name}' of {plugin.distribution} {plugin.version} is already given by plugin "
                    f"{other.name} of {other.distribution} {other.version}"
                )
            found[value.name] = value
        return found

    def catalog(self) -> Catalog:
        return Catalog(plugins=tuple(self.plugins), **self.found)


def _key(plugin: Plugin) -> str:
    """What pluggy knows a plugin by; two files of one name are two plugins."""
    return f"{plugin.distribution}:{plugin.name}:{plugin.module}"
