"""The command line and its Python twin: what they print, what they write, what they do not do twice."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli.main import verdict_on

Cli = Callable[..., Any]

GOLDEN = Path(__file__).resolve().parent / "golden"
EVAL = ("eval", "-m", "sample", "--data", "sample")
SAMPLE_LANGUAGES = ["ar", "de", "es", "sw", "zh"]


def manifest(run: Path) -> Any:
    """Content of ``run.json``."""
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def records(run: Path) -> list[dict[str, Any]]:
    """Content of ``records.jsonl``."""
    return [json.loads(line) for line in (run / "records.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_dry_run_prints_the_units_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = cli(*EVAL, "-t", "xtreme-retrieval", "-o", run, "--dry-run")
    assert (said.code, said.err) == (0, "")
    for word in (
        "tatoeba/sw test: 80 examples",
        "bucc2018/zh test",
        "threshold from dev",
        "from laser",
        "last_hidden_state, mean over all tokens, at most 128 tokens",
        "7 units",
        str(run),
    ):
        assert word in said.out
    assert not run.exists()
    assert not list(Path.cwd().iterdir())


def test_a_dry_run_is_json_when_that_is_asked_for(cli: Cli, tmp_path: Path) -> None:
    said = cli(*EVAL, "-t", "xtreme-retrieval", "-o", tmp_path / "run", "--dry-run", "--json")
    plan = json.loads(said.out)
    assert [(unit["task"], unit["language"]) for unit in plan["units"]] == [
        ("bucc2018", "de"),
        ("bucc2018", "zh"),
        *(("tatoeba", language) for language in SAMPLE_LANGUAGES),
    ]
    assert not (tmp_path / "run").exists()


def test_json_is_all_that_standard_output_holds(cli: Cli, tmp_path: Path) -> None:
    said = cli(*EVAL, "-t", "xtreme-retrieval", "-o", tmp_path / "run", "--json")
    value = json.loads(said.out)
    assert (said.code, value["exit_code"], value["status"]) == (0, 0, "complete")
    assert value["records"] == records(tmp_path / "run")
    assert value["folder"] == str(tmp_path / "run")
    for arguments in (("tasks", "list"), ("tasks", "show", "bucc2018"), ("plugins", "list")):
        said = cli(*arguments, "--json")
        assert json.loads(said.out)
        assert said.err == ""


def test_the_table_names_every_language_and_says_where_the_report_is(cli: Cli, tmp_path: Path) -> None:
    said = cli(*EVAL, "-t", "tatoeba", "-o", tmp_path / "run")
    assert said.code == 0
    for word in (
        "ar Arabic",
        "de German",
        "es Spanish",
        "sw Swahili",
        "zh Chinese",
        "accuracy en-xx",
        "report.html",
    ):
        assert word in said.out
    assert "not comparable with published scores" in said.out
    assert "harness: 5 units done" in said.err


def test_without_an_output_the_run_folder_is_named_after_model_and_experiment(cli: Cli) -> None:
    said = cli(*EVAL, "-t", "tatoeba", "-l", "de", "--json")
    folder = Path(json.loads(said.out)["folder"])
    assert re.fullmatch(r"sample-[0-9a-f]{8}", folder.name)
    assert folder.parent == Path("runs")
    assert (folder / "records.jsonl").is_file()


def test_options_are_environment_variables_too(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"MODEL": "sample", "TASKS": "tatoeba", "DATA": "sample", "LANGUAGES": "de sw", "LIMIT": "5"}
    for name, value in given.items():
        monkeypatch.setenv(f"HARNESS_EVAL_{name}", value)
    said = cli("eval", "-o", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    assert {(record["language"], record["limited"]) for record in json.loads(said.out)["records"]} == {
        ("de", 5),
        ("sw", 5),
    }
    said = cli("eval", "-o", tmp_path / "other", "--limit", "4", "--json")
    assert {record["limited"] for record in json.loads(said.out)["records"]} == {4}, (
        "the command line goes first"
    )


@pytest.mark.parametrize(
    ("wanted", "languages"),
    [
        (("-l", "deu,sw"), ["de", "sw"]),
        (("-l", "swh", "-l", "cmn"), ["sw", "zh"]),
        (("-l", "DE , es"), ["de", "es"]),
        ((), SAMPLE_LANGUAGES),
    ],
)
def test_languages_are_given_in_any_of_their_codes(
    cli: Cli, tmp_path: Path, wanted: tuple[str, ...], languages: list[str]
) -> None:
    said = cli(*EVAL, "-t", "tatoeba", *wanted, "-o", tmp_path / "run", "--dry-run", "--json")
    assert [unit["language"] for unit in json.loads(said.out)["units"]] == languages


def test_available_languages_are_run_and_the_missing_ones_listed(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = cli(*EVAL, "-t", "xtreme-retrieval", "-l", "available", "-o", run)
    assert said.code == 0
    assert "not in the data, bucc2018 (2): fr ru" in said.out
    missing = manifest(run)["missing_languages"]
    assert missing["bucc2018"] == ["fr", "ru"]
    assert len(missing["tatoeba"]) == 31


def test_underscores_are_dashes_in_option_names(cli: Cli, tmp_path: Path) -> None:
    said = cli(*EVAL, "-t", "tatoeba", "-l", "de", "--batch_tokens", "512", "--max_length", "64", "--dry_run")
    assert said.code == 0, said.err
    assert "at most 64 tokens" in said.out


def test_an_option_with_an_underscore_in_its_value_keeps_it(cli: Cli, tmp_path: Path) -> None:
    said = cli("tasks", "show", "no_such_task")
    assert "'no_such_task'" in said.err
    plugin = tmp_path / "with_underscores.py"
    plugin.write_text(
        "from dataclasses import replace\n"
        "from harness import hookimpl\n"
        "from harness_xtreme.tatoeba import TATOEBA\n"
        "@hookimpl\n"
        "def harness_tasks():\n"
        "    return [replace(TATOEBA, name='with_underscores')]\n",
        encoding="utf-8",
    )
    assert cli("tasks", "show", "with_underscores", "-p", plugin).code == 0


def test_a_second_run_computes_nothing_and_changes_no_record(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli(*EVAL, "-t", "xtreme-retrieval", "-o", run).code == 0
    before = (run / "records.jsonl").read_bytes()
    said = cli(*EVAL, "-t", "xtreme-retrieval", "-o", run)
    assert said.code == 0
    assert "0 units to compute, 7 done before" in said.err
    assert (run / "records.jsonl").read_bytes() == before
    assert set(manifest(run)["work"].values()) == {0}
    assert {unit["status"] for unit in manifest(run)["units"]} == {"done"}


def test_another_selection_adds_to_the_run_folder(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli(*EVAL, "-t", "tatoeba", "-l", "de", "-o", run)
    first = records(run)
    said = cli(*EVAL, "-t", "tatoeba,bucc2018", "-l", "zh", "-o", run)
    assert said.code == 0
    units = {(record["task"], record["language"]) for record in records(run)}
    assert units == {("tatoeba", "de"), ("tatoeba", "zh"), ("bucc2018", "zh")}
    assert [record for record in records(run) if record["language"] == "de"] == first
    assert len(manifest(run)["units"]) == 3


def test_overwriting_always_computes_again_and_gives_the_same(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli(*EVAL, "-t", "tatoeba", "-l", "de,sw", "-o", run)
    before = (run / "records.jsonl").read_bytes()
    said = cli(*EVAL, "-t", "tatoeba", "-l", "de,sw", "-o", run, "--overwrite", "always")
    assert "2 units to compute, 0 done before" in said.err
    assert (run / "records.jsonl").read_bytes() == before
    said = cli(*EVAL, "-t", "tatoeba", "-l", "de,sw", "-o", run, "--overwrite", "never")
    assert (said.code, said.out) == (2, "")
    said = cli(*EVAL, "-t", "tatoeba", "-l", "de,sw", "-o", tmp_path / "new", "--overwrite", "never")
    assert said.code == 0


def test_a_unit_whose_predictions_are_gone_is_computed_again(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli(*EVAL, "-t", "tatoeba", "-l", "de,sw", "-o", run)
    before = (run / "records.jsonl").read_bytes()
    path = next((run / "predictions").rglob("sw.parquet"))
    path.unlink()
    said = cli(*EVAL, "-t", "tatoeba", "-l", "de,sw", "-o", run)
    assert "1 unit to compute, 1 done before" in said.err
    assert path.is_file()
    assert (run / "records.jsonl").read_bytes() == before


def test_the_size_of_batches_changes_no_record(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    for name, tokens in (("one", "1"), ("small", "64"), ("large", "100000")):
        isolated(f"home-{name}")
        said = cli(*EVAL, "-t", "xtreme-retrieval", "-o", tmp_path / name, "-b", tokens)
        assert said.code == 0, said.err
        assert manifest(tmp_path / name)["work"]["sentences"] > 0
    contents = {(tmp_path / name / "records.jsonl").read_bytes() for name in ("one", "small", "large")}
    assert len(contents) == 1


def test_all_layers_come_from_one_pass_and_only_the_tasks_own_counts(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    isolated("home-one")
    one = cli(*EVAL, "-t", "tatoeba", "-l", "de", "-o", tmp_path / "one")
    isolated("home-all")
    every = cli(*EVAL, "-t", "tatoeba", "-l", "de", "-o", tmp_path / "all", "--layer", "all")
    assert (one.code, every.code) == (0, 0)
    assert manifest(tmp_path / "all")["work"] == manifest(tmp_path / "one")["work"]
    found = records(tmp_path / "all")
    assert {record["variant"].split(".")[1] for record in found} == {f"layer{number}" for number in range(5)}
    (main,) = [record for record in found if record["main"]]
    (usual,) = [record for record in records(tmp_path / "one") if record["main"]]
    assert main["variant"] == "xtreme.layer4.mean.en-xx"
    assert (main["value"], main["recipe"]) == (usual["value"], usual["recipe"])
    for name in ("report.md", "report.html"):
        assert "layer0" in (tmp_path / "all" / name).read_text(encoding="utf-8")


def test_python_gives_the_run_that_the_command_line_gives(cli: Cli, tmp_path: Path) -> None:
    # pandas has no types of its own; pyright infers nonsense from its code.
    pandas: Any = importlib.import_module("pandas")

    said = cli(*EVAL, "-t", "tatoeba", "-o", tmp_path / "cli", "--json")
    run = harness.evaluate(model="sample", tasks="tatoeba", data="sample", output=tmp_path / "python")
    assert isinstance(run, harness.Run)
    assert not run.failures
    assert (tmp_path / "python" / "records.jsonl").read_bytes() == (
        tmp_path / "cli" / "records.jsonl"
    ).read_bytes()
    frame = pandas.DataFrame([dataclasses.asdict(record) for record in run.records])
    assert list(pandas.DataFrame(list(run.records))["value"]) == list(frame["value"])
    theirs = pandas.DataFrame(json.loads(said.out)["records"])
    assert list(frame.columns) == list(pandas.DataFrame(run.table()).columns)
    means = frame[frame.main].groupby("task")["value"].mean()
    assert means["tatoeba"] == theirs[theirs.main].groupby("task")["value"].mean()["tatoeba"]
    assert sorted(frame["language"].unique()) == SAMPLE_LANGUAGES


def test_python_raises_what_the_command_line_tells(isolated: object, tmp_path: Path) -> None:
    with pytest.raises(harness.UsageError, match="unknown task 'tatoba'"):
        harness.evaluate(model="sample", tasks=["tatoba"], data="sample", output=tmp_path / "run")
    with pytest.raises(harness.ModelError, match="no model folder"):
        harness.evaluate(model="no-such-folder", tasks="tatoeba", data="sample", output=tmp_path / "run")
    assert issubclass(harness.UsageError, harness.HarnessError)


def test_the_report_is_one_page_that_needs_nothing_and_shows_every_language(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli(*EVAL, "-t", "xtreme-retrieval", "-o", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", page)
    assert "<script" not in page
    assert "<link" not in page
    for language in ("ar Arabic", "de German", "es Spanish", "sw Swahili", "zh Chinese"):
        assert language in page
    assert "not the data set" in page
    assert page.count("<svg") == 9


def test_report_shows_a_finished_run_again_and_writes_its_report_anew(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli(*EVAL, "-t", "xtreme-retrieval", "-o", run)
    before = {name: (run / name).read_bytes() for name in ("report.html", "report.md")}
    for name in before:
        (run / name).unlink()
    said = cli("report", run)
    assert said.code == 0
    assert "zh Chinese" in said.out
    assert {name: (run / name).read_bytes() for name in before} == before


def test_a_report_in_a_pipe_is_as_wide_as_the_evaluation_was(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run = tmp_path / "run"
    first, again = cli(*EVAL, "-t", "xtreme-retrieval", "-o", run), cli("report", run)
    shown = [said.out.partition(f"{word}: ")[0] for said, word in ((first, "run"), (again, "report"))]
    assert "tatoeba" in shown[1]
    assert shown[1].rstrip() == shown[0].partition("not in the data")[0].rstrip()


def test_a_report_without_a_plugin_of_the_run_says_that_its_suites_are_not_shown(
    cli: Cli, tmp_path: Path
) -> None:
    plugin, run = tmp_path / "pairs.py", tmp_path / "run"
    plugin.write_text(
        "from harness import Suite, SuiteTask, hookimpl\n\n\n@hookimpl\ndef harness_suites():\n"
        "    task = SuiteTask(task='tatoeba', languages=('de',), group='retrieval')\n"
        "    return [Suite(name='pairs', title='Pairs', tasks=(task,), citation='none')]\n",
        encoding="utf-8",
    )
    done = cli(*EVAL, "-t", "pairs", "-l", "de", "-o", run, "-p", plugin)
    assert done.code == 0, done.err
    told = f"harness: {run} was made with the plugins pairs, which are not loaded here"
    assert cli("report", run).err.startswith(told)
    assert told not in cli("report", run, "-p", plugin).err


def test_the_list_of_tasks_is_the_golden_one(cli: Cli) -> None:
    assert cli("tasks", "list").out == (GOLDEN / "tasks_list.txt").read_text(encoding="utf-8")


def test_every_sub_command_has_a_help_that_names_its_options(cli: Cli) -> None:
    commands = {
        (): ["eval", "tasks", "plugins", "data", "score", "export", "gate", "doctor", "report", "Exit codes"],
        ("eval",): ["--model", "--tasks", "--data", "--layer", "--offline", "--dry-run", "-p, --plugin"],
        ("data",): ["fetch", "verify", "pack", "unpack"],
        ("data", "fetch"): ["--tasks"],
        ("tasks",): ["list", "show"],
        ("plugins", "list"): ["--json"],
        ("report",): ["FOLDER"],
    }
    for command, words in commands.items():
        said = cli(*command, "--help")
        assert said.code == 0
        for word in words:
            assert word in said.out


def test_debug_shows_the_traceback(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.main import _run

    arguments = ["--debug", "tasks", "show", "no-such-task"]
    assert _run(arguments, debug=True) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.strip().splitlines()[-1].startswith("harness: unknown task 'no-such-task'")


def test_a_real_model_is_evaluated_and_an_english_one_is_nearer_to_german_than_to_chinese(
    cli: Cli, tmp_path: Path, minilm: Path
) -> None:
    said = cli(
        "eval",
        "-m",
        minilm,
        "-t",
        "tatoeba",
        "-l",
        "de,zh",
        "--data",
        "sample",
        "-o",
        tmp_path / "r",
        "--json",
    )
    assert said.code == 0, said.err
    found = json.loads(said.out)["records"]
    main = {record["language"]: record["value"] for record in found if record["main"]}
    # An English model: far from nothing in German, close to it in Chinese.
    assert main["de"] > main["zh"]
    assert {record["n"] for record in found} == {40}


def test_a_file_that_may_not_be_read_is_no_defect_of_ours() -> None:
    code, told = verdict_on(PermissionError(13, "Permission denied", "ckpt/config.json"))
    assert (code, told) == (
        2,
        "ckpt/config.json: not to be read or written (Permission denied); change its permissions, or give another path",
    )
    assert verdict_on(PermissionError("odd"))[0] == 70
