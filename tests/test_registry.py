"""Plugins: found by entry points, loaded each on its own, broken ones set aside with a reason."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import Catalog, Plugin
from harness.errors import PluginError, UnknownNameError
from harness.registry import load_catalog
from harness.version import DISTRIBUTION

ROOT = Path(__file__).resolve().parents[1]
OWN = set(
    """accuracy anli anli_plus answers answers_v2 binary bucc2018 ccg commonsenseqa copa cosmosqa encoders experiments
    hellaswag mining mlm mlqa mnli panx pawsx qqp retrieval siqa snli squad_v1 squad_v2 suites tagging tatoeba
    translation_ranking tydiqa udpos xnli xquad""".split()
)

Install = Callable[..., None]


def task(name: str, **changes: str) -> str:
    """The source of a plugin that brings one more Tatoeba under another name."""
    given = "".join(f", {key}={value}" for key, value in changes.items())
    return (
        "from dataclasses import replace\n"
        "from harness import hookimpl\n"
        "from harness_xtreme.tatoeba import TATOEBA\n"
        "@hookimpl\n"
        "def harness_tasks():\n"
        f"    return [replace(TATOEBA, name={name!r}{given})]\n"
    )


@pytest.fixture
def install(tmp_path: Path, isolated: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a made-up distribution on the path, as ``pip install`` would leave it."""
    before = set(sys.modules)

    def add(name: str, version: str, points: Mapping[str, str], modules: Mapping[str, str]) -> None:
        folder = tmp_path / f"site-{name}"
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
        lines = "".join(f"{point} = {module}\n" for point, module in points.items())
        (info / "entry_points.txt").write_text(f"[harness]\n{lines}", "utf-8")
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text, "utf-8")
        monkeypatch.syspath_prepend(folder)

    yield add
    for module in set(sys.modules) - before:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(
            sys.modules[module].__file__
        ):
            del sys.modules[module]
    importlib.invalidate_caches()


def by_name(catalog: Catalog, distribution: str) -> dict[str, Plugin]:
    """The plugins of one distribution."""
    return {plugin.name: plugin for plugin in catalog.plugins if plugin.distribution == distribution}


def own_plugins_are_whole(catalog: Catalog) -> bool:
    """Whether all that the harness itself brings is there."""
    loaded = {name for name, plugin in by_name(catalog, DISTRIBUTION).items() if plugin.status == "loaded"}
    return loaded == OWN and {"tatoeba", "bucc2018"} <= set(catalog.tasks) and "xtreme" in catalog.suites


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param(
            "import nothing_of_the_sort\n", ["ModuleNotFoundError", "nothing_of_the_sort"], id="import"
        ),
        pytest.param("def broken(:\n", ["SyntaxError"], id="syntax"),
        pytest.param("raise SystemExit(3)\n", ["SystemExit", "3"], id="exit at import"),
        pytest.param(
            "from harness import hookimpl\n@hookimpl\ndef harness_taks():\n    return ()\n",
            ["harness_taks", "unknown hook"],
            id="misspelt hook",
        ),
        pytest.param("x = 1\n", ["no hook", "harness_tasks", "harness_metrics"], id="no hook"),
        pytest.param(
            "from harness import hookimpl\n@hookimpl\ndef harness_tasks():\n    return ['tatoeba-two']\n",
            ["harness_tasks", "tatoeba-two", "TaskSpec"],
            id="not a task",
        ),
        pytest.param(
            "from harness import hookimpl\n@hookimpl\ndef harness_tasks():\n    return None\n",
            [],
            id="nothing given",
        ),
        pytest.param(
            "from harness import hookimpl\n@hookimpl\ndef harness_tasks(mistake):\n    return ()\n",
            ["mistake"],
            id="argument that the hook has not",
        ),
        pytest.param(
            "from harness import hookimpl\n@hookimpl\ndef harness_tasks():\n    raise RuntimeError('no luck')\n",
            ["RuntimeError", "no luck"],
            id="hook raises",
        ),
        pytest.param(task("bad", split="'train'"), ["task 'bad'", "train", "test, dev"], id="split"),
        pytest.param(task("bad", languages="('deu',)"), ["task 'bad'", "deu", "ISO 639-1"], id="language"),
        pytest.param(task("bad", metrics="()"), ["task 'bad'", "no metric"], id="no metric"),
        pytest.param(task("Bad Name"), ["Bad Name", "lower-case"], id="name"),
        pytest.param(task("bad", version="0"), ["task 'bad'", "version"], id="version"),
        pytest.param(task("bad", format="'words'"), ["task 'bad'", "not a Format"], id="format"),
    ],
)
def test_a_broken_plugin_is_set_aside_with_the_cause_and_the_others_go_on(
    install: Install, source: str, words: list[str]
) -> None:
    install("weather-broken", "1.2", {"broken": "weather_broken"}, {"weather_broken": source})
    install("weather-good", "2.0", {"good": "weather_good"}, {"weather_good": task("good-one")})
    catalog = load_catalog()
    plugin = by_name(catalog, "weather-broken")["broken"]
    assert (plugin.status, plugin.version, plugin.module) == ("failed", "1.2", "weather_broken")
    assert (plugin.tasks, plugin.metrics, plugin.suites) == ((), (), ())
    for word in words:
        assert word in plugin.error
    assert "\n" not in plugin.error
    assert by_name(catalog, "weather-good")["good"].status == "loaded"
    assert catalog.owner("good-one").distribution == "weather-good"
    assert own_plugins_are_whole(catalog)


def test_nothing_of_a_plugin_is_kept_when_one_of_its_tasks_is_bad(install: Install) -> None:
    source = task("half-good").replace("return [", "return [*others(), ") + "def others():\n    return [7]\n"
    install("weather-half", "1.0", {"half": "weather_half"}, {"weather_half": source})
    catalog = load_catalog()
    assert by_name(catalog, "weather-half")["half"].status == "failed"
    assert "half-good" not in catalog.tasks
    assert own_plugins_are_whole(catalog)


def test_of_two_plugins_with_one_name_the_later_is_refused_and_both_are_named(install: Install) -> None:
    install("aa-rain", "1.0", {"weather": "aa_rain"}, {"aa_rain": task("rain")})
    install("bb-snow", "2.0", {"weather": "bb_snow"}, {"bb_snow": task("snow")})
    catalog = load_catalog()
    assert by_name(catalog, "aa-rain")["weather"].status == "loaded"
    refused = by_name(catalog, "bb-snow")["weather"]
    assert refused.status == "failed"
    for word in ("weather", "bb-snow 2.0", "aa_rain", "aa-rain 1.0"):
        assert word in refused.error
    assert "rain" in catalog.tasks
    assert "snow" not in catalog.tasks
    assert own_plugins_are_whole(catalog)


def test_of_two_tasks_with_one_name_the_later_is_refused_and_both_are_named(install: Install) -> None:
    install("aa-rain", "1.0", {"rain": "aa_rain"}, {"aa_rain": task("storm")})
    install("bb-snow", "2.0", {"snow": "bb_snow"}, {"bb_snow": task("storm")})
    catalog = load_catalog()
    assert catalog.owner("storm").distribution == "aa-rain"
    refused = by_name(catalog, "bb-snow")["snow"]
    assert refused.status == "failed"
    for word in ("task 'storm'", "bb-snow 2.0", "plugin rain", "aa-rain 1.0"):
        assert word in refused.error


def test_a_third_party_cannot_take_the_name_of_a_built_in_plugin_or_task(install: Install) -> None:
    install(
        "aaa-first",
        "9.9",
        {"tatoeba": "aaa_plugin", "mine": "aaa_task"},
        {"aaa_plugin": task("other"), "aaa_task": task("tatoeba", version="7")},
    )
    catalog = load_catalog()
    taken = by_name(catalog, "aaa-first")
    assert {plugin.status for plugin in taken.values()} == {"failed"}
    for plugin in taken.values():
        assert "tatoeba" in plugin.error
        assert "aaa-first 9.9" in plugin.error
        assert DISTRIBUTION in plugin.error
    assert catalog.tasks["tatoeba"].version == 1
    assert own_plugins_are_whole(catalog)


def test_a_module_and_a_file_are_loaded_by_minus_p(
    install: Install, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    install("weather-modules", "1.0", {}, {"weather_module": task("from-module")})
    file = tmp_path / "from_file.py"
    file.write_text(task("from-file"), "utf-8")
    said = cli("plugins", "list", "--json", "-p", "weather_module", "-p", file)
    assert said.code == 0
    plugins = {plugin["module"]: plugin for plugin in json.loads(said.out)}
    assert plugins["weather_module"]["tasks"] == ["from-module"]
    assert plugins[str(file)]["tasks"] == ["from-file"]
    assert plugins[str(file)]["status"] == "loaded"
    said = cli("tasks", "show", "from-file", "-p", file, "--json")
    assert said.code == 0
    assert json.loads(said.out)["name"] == "from-file"


def test_a_module_of_an_entry_point_or_one_given_twice_is_loaded_once(
    install: Install, cli: Callable[..., Any]
) -> None:
    modules = {"weather_rain": task("rain"), "weather_wind": task("wind")}
    install("weather", "1.0", {"rain": "weather_rain"}, modules)
    for name in ("rain", "wind"):
        twice = ("-p", f"weather_{name}") * 2
        said = cli("tasks", "show", name, *twice)
        assert said.code == 0, said.err
        loaded = json.loads(cli("plugins", "list", "--json", *twice).out)
        assert [plugin["status"] for plugin in loaded if plugin["tasks"] == [name]] == ["loaded"]


def test_a_broken_module_of_an_entry_point_is_an_error_when_asked_for_by_minus_p(
    install: Install, cli: Callable[..., Any]
) -> None:
    install("weather", "1.0", {"rain": "weather_rain"}, {"weather_rain": "raise ValueError('no luck')\n"})
    assert cli("tasks", "list").code == 0
    said = cli("tasks", "list", "-p", "weather_rain")
    assert (said.code, said.err) == (2, "harness: plugin weather_rain: ValueError: no luck\n")


def test_a_module_under_two_entry_points_is_set_aside_once_in_a_few_words(install: Install) -> None:
    points = {"rain": "weather_rain", "shower": "weather_rain"}
    install("weather", "1.0", points, {"weather_rain": task("rain")})
    catalog = load_catalog()
    rain, shower = (by_name(catalog, "weather")[name] for name in points)
    assert (rain.status, rain.tasks, shower.status) == ("loaded", ("rain",), "failed")
    assert shower.error == (
        "PluginError: its module weather_rain is loaded already, as plugin rain of weather 1.0; name it once"
    )


def test_two_files_of_one_name_in_two_folders_are_both_loaded(tmp_path: Path, isolated: object) -> None:
    paths = [tmp_path / folder / "plugin.py" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(task(f"from-{path.parent.name}"), "utf-8")
    catalog = load_catalog([str(path) for path in paths])
    assert {"from-one", "from-two"} <= set(catalog.tasks)


def test_a_file_may_have_the_name_of_a_built_in_plugin(tmp_path: Path, isolated: object) -> None:
    path = tmp_path / "tatoeba.py"
    path.write_text(task("tatoeba-mine"), "utf-8")
    catalog = load_catalog([str(path)])
    assert "tatoeba-mine" in catalog.tasks
    assert own_plugins_are_whole(catalog)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, ["no file"]),
        ("import nothing_of_the_sort\n", ["nothing_of_the_sort"]),
        ("raise SystemExit(0)\n", ["SystemExit"]),
        (task("tatoeba"), ["tatoeba", "already given", DISTRIBUTION]),
    ],
)
def test_a_broken_plugin_that_was_asked_for_by_minus_p_is_an_error(
    cli: Callable[..., Any], tmp_path: Path, source: str | None, words: list[str]
) -> None:
    path = tmp_path / "asked_for.py"
    if source is not None:
        path.write_text(source, "utf-8")
    said = cli("tasks", "list", "-p", path)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.strip().splitlines()) == 1
    assert said.err.startswith(f"harness: plugin {path}")
    for word in words:
        assert word in said.err


def test_a_module_that_is_not_there_is_an_error_when_asked_for_by_minus_p(cli: Callable[..., Any]) -> None:
    said = cli("eval", "-m", "sample", "-t", "tatoeba", "--data", "sample", "-p", "no_such.module")
    assert said.code == 2
    assert said.err.startswith("harness: plugin no_such.module: ModuleNotFoundError")


def test_only_the_plugins_that_the_environment_names_are_loaded(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("weather-good", "2.0", {"good": "weather_good"}, {"weather_good": task("good-one")})
    monkeypatch.setenv("HARNESS_LOAD_PLUGINS", "tatoeba, accuracy")
    catalog = load_catalog()
    assert {plugin.name for plugin in catalog.plugins if plugin.status == "loaded"} == {"tatoeba", "accuracy"}
    blocked = [plugin for plugin in catalog.plugins if plugin.name not in ("tatoeba", "accuracy")]
    assert {plugin.status for plugin in blocked} == {"blocked"}
    assert all("HARNESS_LOAD_PLUGINS" in plugin.error for plugin in blocked)
    assert set(catalog.tasks) == {"tatoeba"}
    assert "weather_good" not in sys.modules
    monkeypatch.setenv("HARNESS_LOAD_PLUGINS", "")
    assert not load_catalog().tasks


def test_plugins_that_the_environment_disables_are_not_even_imported(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("weather-good", "2.0", {"good": "weather_off"}, {"weather_off": task("good-one")})
    monkeypatch.setenv("HARNESS_DISABLE_PLUGINS", "good,bucc2018")
    catalog = load_catalog()
    assert {plugin.name for plugin in catalog.plugins if plugin.status == "blocked"} == {"good", "bucc2018"}
    assert "weather_off" not in sys.modules
    assert "tatoeba" in catalog.tasks
    assert "bucc2018" not in catalog.tasks


def test_no_plugins_leaves_the_harnesss_own(install: Install, cli: Callable[..., Any]) -> None:
    install("weather-good", "2.0", {"good": "weather_alone"}, {"weather_alone": task("good-one")})
    assert "good-one" in cli("tasks", "list").out
    said = cli("tasks", "list", "--no-plugins")
    assert said.code == 0
    assert "good-one" not in said.out
    assert "tatoeba" in said.out
    assert own_plugins_are_whole(load_catalog(others=False))


def test_an_unknown_task_is_answered_with_the_nearest_names_and_the_plugins_set_aside(
    install: Install, cli: Callable[..., Any]
) -> None:
    install(
        "weather-broken", "1.2", {"storms": "weather_lost"}, {"weather_lost": "import nothing_of_the_sort\n"}
    )
    with pytest.raises(UnknownNameError, match="did you mean tatoeba"):
        load_catalog().task("tatoba")
    said = cli("eval", "-m", "sample", "-t", "tatoba", "--data", "sample")
    assert said.code == 2
    assert said.err.startswith("harness: unknown task 'tatoba'; did you mean tatoeba?")
    for word in ("plugins set aside", "storms", "weather-broken", "nothing_of_the_sort"):
        assert word in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.fixture
def wanting(tmp_path: Path) -> Path:
    """A plugin whose task wants a metric that nobody gives."""
    path = tmp_path / "wants.py"
    wants = task("wanting", metrics="(MetricUse(metric='acuracy', view='xx-en'),)")
    path.write_text("from harness import MetricUse\n" + wants, "utf-8")
    return path


def test_a_metric_that_nobody_gives_is_told_with_the_task_that_wants_it(
    cli: Callable[..., Any], wanting: Path
) -> None:
    said = cli("eval", "-m", "sample", "-t", "wanting", "-l", "de", "--data", "sample", "-p", wanting)
    assert said.code == 2
    for word in ("unknown metric 'acuracy'", "did you mean accuracy", "wanting"):
        assert word in said.complaint


def test_a_metric_that_nobody_gives_does_not_hide_the_other_tasks(
    cli: Callable[..., Any], wanting: Path
) -> None:
    said = cli("tasks", "list", "--json", "-p", wanting)
    assert said.code == 0
    assert {"tatoeba", "bucc2018"} <= {entry["name"] for entry in json.loads(said.out)}


def test_loading_leaves_a_plugin_error_only_for_what_was_asked_for(install: Install) -> None:
    install(
        "weather-broken", "1.2", {"broken": "weather_again"}, {"weather_again": "raise ValueError('why')\n"}
    )
    load_catalog()
    with pytest.raises(PluginError, match="why"):
        load_catalog(["weather_again"])


def test_installed_entry_points_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["entry-points"]["harness"]
    installed = {
        point.name: point.value
        for point in metadata.distribution(DISTRIBUTION).entry_points.select(group="harness")
    }
    assert installed == declared, "the installed entry points are stale: run pip install -e . again"
    assert set(declared) == OWN
    assert re.fullmatch(DISTRIBUTION, project["name"])
