"""What is wrong with names, options and data is told in one line that says what, where and what to do, with the promised exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from badruns import SAMPLE, Change, Cli, assert_failed_units, scored
from told import assert_one_line


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        pytest.param(("-t", "tatoba"), ["unknown task 'tatoba'", "did you mean tatoeba"], 2, id="task"),
        pytest.param(("-t", "x*z"), ["unknown task 'x*z'", "anli, anli_plus, bucc2018, ccg"], 2, id="glob"),
        pytest.param(("-l", "xx"), ["unknown language code 'xx'", "ISO 639"], 2, id="language"),
        pytest.param(
            ("-l", "gu"), ["no selected task has language 'gu'", "Gujarati"], 2, id="language of none"
        ),
        pytest.param(("--layer", "9"), ["no layer '9'", "4 blocks", "0 to 4", "middle"], 2, id="layer"),
        pytest.param(("--layer", "-1"), ["no layer '-1'", "0 to 4"], 2, id="negative layer"),
        pytest.param(("--layer", "top"), ["no layer 'top'", "last"], 2, id="layer's name"),
        pytest.param(("--protocol", "mine"), ["no protocol 'mine'", "xtreme, phang2020"], 2, id="protocol"),
        pytest.param(("--split", "train"), ["--split train", "'tatoeba'", "test, dev"], 2, id="split"),
        pytest.param(("--split", "dev", "--split", "test"), ["--split is given twice"], 2, id="split twice"),
        pytest.param(
            ("--set", "tatoeba.k=1", "--set", "tatoeba.k=2"),
            ["--set tatoeba.k is given twice, as 1 and 2"],
            2,
            id="setting twice",
        ),
        pytest.param(("--split", "bucc2018=dev"), ["'bucc2018' is not selected"], 2, id="task of a split"),
        pytest.param(("--max-length", "999"), ["--max-length 999", "3 to 128", "sample"], 2, id="too long"),
        pytest.param(("--max-length", "2"), ["--max-length 2", "3 to 128"], 2, id="too short"),
        pytest.param(("--limit", "0"), ["--limit 0", "at least 1"], 2, id="limit"),
        pytest.param(("--batch-tokens", "0"), ["--batch-tokens 0", "at least 1"], 2, id="batch"),
        pytest.param(("--device", "tpu"), ["--device tpu", "cpu", "cuda"], 2, id="device"),
        pytest.param(("--device", "cpu:x"), ["--device cpu:x", "cpu", "cuda"], 2, id="device's number"),
        pytest.param(("-t", ""), ["no task is selected", "--tasks"], 5, id="nothing"),
    ],
)
def test_a_name_or_number_that_is_not_allowed_is_told_with_what_is(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: list[str], code: int
) -> None:
    given = ["eval", "-m", "sample", "--data", "sample", "-o", str(tmp_path / "run"), *arguments]
    if "-t" not in arguments:
        given += ["-t", "tatoeba"]
    if "-l" not in arguments:
        given += ["-l", "de"]
    assert_one_line(cli(*given), words, code)
    assert not (tmp_path / "run").exists()


def test_a_language_that_the_sample_has_not_is_told_with_the_files_that_are_lacking(cli: Cli) -> None:
    assert_one_line(
        cli(*SAMPLE[:5], "-l", "fr", "--data", "sample"), ["tatoeba/fr/test", "tatoeba.fra-eng.fra"]
    )


@pytest.mark.parametrize("given", ["", " , "])
def test_leaks_are_not_looked_for_in_nothing(cli: Cli, sample_model: Path, given: str) -> None:
    said = cli("leakage", sample_model, "-t", given, "--data", "sample")
    assert_one_line(said, [f"--tasks '{given}': name tasks or suites, e.g. xtreme"])


def test_the_help_names_what_ends_with_which_code(cli: Cli) -> None:
    told = " ".join(cli("--help").out.split())
    assert "1 found what was looked for: a regression (gate), leaked texts (leakage)" in told
    assert "4 gate or leakage cannot decide" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval", "-t", "tatoeba"), ["--model"]),
        (("eval", "-m", "sample", "-t", "tatoeba", "--dtype", "int8"), ["--dtype", "float32"]),
        (("eval", "-m", "sample", "-t", "tatoeba", "--limit", "many"), ["--limit", "many"]),
        (("evaluate",), ["evaluate"]),
        (("tasks", "show"), ["NAME"]),
        (("eval", "--no-such-option"), ["--no-such-option"]),
    ],
)
def test_options_that_cannot_be_parsed_are_clicks_usage_errors(
    cli: Cli, arguments: tuple[str, ...], words: list[str]
) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert "Usage: harness" in said.err
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err


def laser(folder: Path, other: Sequence[str], english: Sequence[str]) -> Path:
    """A data folder with one language of Tatoeba."""
    target = folder / "tatoeba" / "v1"
    target.mkdir(parents=True)
    (target / "tatoeba.deu-eng.deu").write_bytes("".join(f"{line}\n" for line in other).encode("utf-8"))
    (target / "tatoeba.deu-eng.eng").write_bytes("".join(f"{line}\n" for line in english).encode("utf-8"))
    return folder


def latin(folder: Path) -> None:
    laser(folder, ["eins", "zwei"], ["one", "two"])
    (folder / "tatoeba/v1/tatoeba.deu-eng.deu").write_bytes("eins\nfünf\n".encode("latin-1"))


def unknown_gold(folder: Path) -> None:
    (folder / "bucc2018").mkdir()
    for side, lines in (("de", "de-1\tHund\n"), ("en", "en-1\tdog\n"), ("gold", "de-1\ten-1\nde-9\ten-1\n")):
        (folder / f"bucc2018/de-en.test.{side}").write_text(lines, encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "task", "words"),
    [
        pytest.param(
            lambda folder: folder.rmdir(), "tatoeba", ["does not exist", "'hub', 'sample'"], id="none"
        ),
        pytest.param(lambda folder: None, "tatoeba", ["is empty"], id="empty"),
        pytest.param(
            lambda folder: (folder / "de.tsv").write_text("x\n"),
            "tatoeba",
            ["tatoeba/de/test", "laser layout lacks tatoeba/v1/tatoeba.deu-eng.deu", "xtreme layout lacks"],
            id="wrong layout",
        ),
        pytest.param(
            lambda folder: laser(folder, ["eins", "zwei"], ["one"]),
            "tatoeba",
            ["tatoeba/de/test", "tatoeba.deu-eng.deu has 2 lines", "tatoeba.deu-eng.eng has 1"],
            id="unequal",
        ),
        pytest.param(latin, "tatoeba", ["tatoeba.deu-eng.deu, line 2", "not UTF-8"], id="not UTF-8"),
        pytest.param(unknown_gold, "bucc2018", ["de-en.test.gold, line 2", "'de-9'"], id="gold"),
    ],
)
def test_data_that_cannot_be_read_is_told_with_file_and_line(
    cli: Cli, tmp_path: Path, make: Change, task: str, words: list[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    said = cli("eval", "-m", "sample", "-t", task, "-l", "de", "--data", folder, "-o", tmp_path / "run")
    assert_one_line(said, [str(folder), *words])
    assert not (tmp_path / "run").exists()


def test_nothing_of_what_is_available_is_nothing_selected(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "readme.txt").write_text("nothing\n")
    said = cli("eval", "-m", "sample", "-t", "tatoeba", "-l", "available", "--data", folder)
    assert_one_line(said, [str(folder), "tatoeba", "split test"], 5)


def test_nothing_cached_and_no_network_is_told_with_what_to_do(cli: Cli) -> None:
    said = cli("eval", "-m", "sample", "-t", "tatoeba", "-l", "de", "--offline")
    assert_one_line(said, ["tatoeba/de/test", "mteb/tatoeba-bitext-mining", "harness data fetch", "--data"])


def test_one_language_that_cannot_be_read_leaves_the_others(cli: Cli, tmp_path: Path) -> None:
    folder = laser(tmp_path / "data", ["Hund", "Katze"], ["dog"])
    for name, line in (("spa", "perro"), ("eng", "dog")):
        (folder / f"tatoeba/v1/tatoeba.spa-eng.{name}").write_text(f"{line}\n", encoding="utf-8")
    run = tmp_path / "run"
    said = cli("eval", "-m", "sample", "-t", "tatoeba", "-l", "available", "--data", folder, "-o", run)
    assert_failed_units(said, ["tatoeba/de", "has 2 lines"])
    assert "1 of 2 units failed (tatoeba/de); 1 done and written" in said.complaint
    assert set(scored(run)) == {("tatoeba", "es")}
    assert "has 2 lines" in (run / "report.md").read_text(encoding="utf-8")
    stopped = cli(
        "eval",
        "-m",
        "sample",
        "-t",
        "tatoeba",
        "-l",
        "available",
        "--data",
        folder,
        "-o",
        tmp_path / "x",
        "--fail-fast",
    )
    assert_one_line(stopped, ["tatoeba/de", "has 2 lines"])


def test_empty_and_overlong_texts_are_counted_and_shown(cli: Cli, tmp_path: Path) -> None:
    long = " ".join(["Hund"] * 400)
    folder = laser(tmp_path / "data", ["Die Katze", "", "   ", long], ["The cat", "dog", "house", "dogs"])
    run = tmp_path / "run"
    said = cli("eval", "-m", "sample", "-t", "tatoeba", "-l", "de", "--data", folder, "-o", run, "--json")
    assert said.code == 0, said.err
    for record in json.loads(said.out)["records"]:
        counts = {"texts": 8, "distinct": 8, "empty": 2, "truncated": 1, "examples": 8}
        counts |= {"pieces": 408, "unknown": 0, "words": 407}
        assert record["inputs"] == {**counts, "max_length": 128}
    report = (run / "report.md").read_text(encoding="utf-8")
    assert "- empty texts: tatoeba/de 2\n" in report
    assert "- texts cut at the length limit: tatoeba/de 1\n" in report
    again = cli(
        "eval", "-m", "sample", "-t", "tatoeba", "-l", "de", "--data", folder, "-o", tmp_path / "2", "--json"
    )
    assert json.loads(again.out)["records"] == json.loads(said.out)["records"], (
        "stored vectors keep the counts"
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--hyper", "epochs=1"),
        ("--seeds", "0,1"),
        ("--train-from", "train:9"),
        ("--head-labels", "tatoeba=none"),
    ],
)
def test_an_option_of_heads_is_refused_where_only_vectors_are_compared(
    cli: Cli, tmp_path: Path, option: str, value: str
) -> None:
    said = cli(
        "eval",
        "-m",
        "sample",
        "--data",
        "sample",
        "-t",
        "xtreme-retrieval",
        "-o",
        tmp_path / "run",
        option,
        value,
    )
    words = f"{option} goes with tasks that have a head only; vectors are compared for bucc2018, tatoeba"
    assert_one_line(said, [words, f"leave {option} out"])
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_data_folder(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    file.write_text("a\tb\n", encoding="utf-8")
    for given in (file, f"{file}+hub"):
        said = cli("eval", "-m", "sample", "-t", "tatoeba", "--data", given)
        assert_one_line(said, [f"data folder {file} is a file; give a folder, 'hub', 'sample'"])


def test_a_report_of_no_run_is_told(cli: Cli, tmp_path: Path) -> None:
    assert_one_line(cli("report", tmp_path), [str(tmp_path), "no run.json", "not a run folder"])
