"""What is wrong is told in one line that says what, where and what to do, with the exit code that is promised.

Nothing that was computed before is lost.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from told import assert_one_line

from harness.formats.retrieval import Retrieval

Cli = Callable[..., Any]
Change = Callable[[Path], object]

SAMPLE = ("eval", "-m", "sample", "-t", "tatoeba", "-l", "de", "--data", "sample")


def assert_failed_units(said: Any, words: Sequence[str]) -> None:
    """A run of which units failed: told once per unit, and at the end."""
    assert said.code == 3, said.err
    assert "Traceback" not in said.err
    assert "internal error" not in said.err
    lines = said.err.strip().splitlines()
    assert all(line.startswith("harness: ") for line in lines), said.err
    told = next(line for line in lines if " failed: " in line)
    for word in words:
        assert word in told, f"{word!r} is not in {told!r}"


def status(run: Path) -> str:
    """The status of a run folder."""
    return str(json.loads((run / "run.json").read_text(encoding="utf-8"))["status"])


def scored(run: Path) -> dict[tuple[str, str], list[str]]:
    """The lines of ``records.jsonl`` by task and language."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in (run / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        found.setdefault((record["task"], record["language"]), []).append(line)
    return found


# Names, options and selections


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


# Models


def without(*names: str) -> Change:
    """Take files out of a model folder."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def cut(size: int) -> Change:
    """Keep only the first bytes of the weights; a negative number counts from the end."""
    path = "model.safetensors"
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:size])


def text(name: str, content: str) -> Change:
    """Write a file into a model folder."""
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(without("config.json"), ["no config.json"], id="no config"),
        pytest.param(without("model.safetensors"), ["no weights", "model.safetensors"], id="no weights"),
        pytest.param(without("tokenizer.json"), ["no tokenizer", "tokenizer.json"], id="no tokenizer"),
        pytest.param(cut(5), ["model.safetensors", "not a whole safetensors file"], id="5 bytes"),
        pytest.param(cut(0), ["model.safetensors", "not a whole safetensors file"], id="no byte"),
        pytest.param(cut(200), ["model.safetensors", "header is cut or broken"], id="header cut"),
        pytest.param(cut(-1000), ["model.safetensors", "cut short", "copy it again"], id="data cut"),
        pytest.param(text("config.json", "{"), ["config.json", "not readable as JSON"], id="config no JSON"),
        pytest.param(text("config.json", "{}"), ["config.json", "no model_type"], id="config empty"),
        pytest.param(
            text("tokenizer_config.json", "["), ["tokenizer_config.json", "JSON"], id="tokenizer config"
        ),
        pytest.param(text("modules.json", "{"), ["modules.json", "not readable as JSON"], id="modules"),
        pytest.param(
            text("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
            ["model.safetensors", "not a whole safetensors file"],
            id="pointer instead of weights",
        ),
    ],
)
def test_a_model_folder_that_is_not_whole_is_told_before_anything_starts(
    cli: Cli, tmp_path: Path, sample_model: Path, change: Change, words: list[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    change(folder)
    said = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", tmp_path / "run")
    assert_one_line(said, [str(folder), *words])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no-such-folder", ["no model folder no-such-folder", "hub id", "'sample'"]),
        ("./no/such", ["no model folder ./no/such"]),
        ("no/such", ["no model folder no/such", "not cached", "cannot be fetched"]),
        ("xlm-roberta-large", ["hub repository FacebookAI/xlm-roberta-large is not cached"]),
    ],
)
def test_a_model_that_is_nowhere_is_told_with_what_can_be_given(
    cli: Cli, model: str, words: list[str]
) -> None:
    assert_one_line(
        cli("eval", "-m", model, "-t", "tatoeba", "-l", "de", "--data", "sample", "--offline"), words
    )


def test_a_file_is_no_model_folder(cli: Cli, sample_model: Path) -> None:
    path = sample_model / "model.safetensors"
    assert_one_line(
        cli("eval", "-m", path, "-t", "tatoeba", "-l", "de", "--data", "sample"), [str(path), "model folder"]
    )


def test_missing_weights_of_the_encoder_are_named(cli: Cli, tmp_path: Path, sample_model: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    state = load_file(folder / "model.safetensors")
    name = next(key for key in state if "layer.2.attention.self.query.weight" in key)
    del state[name]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    said = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", tmp_path / "run")
    assert said.code in (2, 3)
    assert "Traceback" not in said.err
    for word in ("tensors of the encoder are missing", "layer.2.attention.self.query.weight", str(folder)):
        assert word in said.err


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._target),)


def test_a_pickle_that_would_run_code_is_refused(cli: Cli, tmp_path: Path, sample_model: Path) -> None:
    import torch

    marker = tmp_path / "it-ran"
    savers: list[Callable[..., None]] = [pickle.dump, torch.save]
    for number, save in enumerate(savers):
        folder = tmp_path / f"model-{number}"
        shutil.copytree(sample_model, folder)
        (folder / "model.safetensors").unlink()
        with (folder / "pytorch_model.bin").open("wb") as stream:
            save({"embeddings.word_embeddings.weight": Malice(marker)}, stream)
        said = cli(
            "eval",
            "-m",
            folder,
            "-t",
            "tatoeba",
            "-l",
            "de",
            "--data",
            "sample",
            "-o",
            tmp_path / f"r{number}",
        )
        assert said.code in (2, 3)
        assert f"{folder}: cannot be opened" in said.err
        assert "Traceback" not in said.err
        assert not marker.exists()


def test_an_honest_pickle_gives_the_scores_of_its_safetensors_twin(
    cli: Cli, tmp_path: Path, sample_model: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    rest = ("-t", "tatoeba", "-l", "de", "--data", "sample", "--json")
    pickled = cli("eval", "-m", folder, *rest, "-o", tmp_path / "pickled")
    usual = cli("eval", "-m", "sample", *rest, "-o", tmp_path / "usual")
    assert (pickled.code, usual.code) == (0, 0), pickled.err
    values = [
        {(record["variant"], record["metric"]): record["value"] for record in json.loads(said.out)["records"]}
        for said in (pickled, usual)
    ]
    assert values[0] == values[1]


def test_vectors_that_are_not_finite_are_told_with_model_and_sentence(
    cli: Cli, tmp_path: Path, sample_model: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    state = load_file(folder / "model.safetensors")
    key = next(key for key in state if key.endswith("layer.1.output.dense.weight"))
    state[key] = torch.full_like(state[key], float("nan"))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    said = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", tmp_path / "run")
    assert said.code in (2, 3)
    assert "Traceback" not in said.err
    for word in ("tatoeba/de", str(folder), "NaN", "float32"):
        assert word in said.err
    assert not (tmp_path / "run" / "records.jsonl").exists()


# Data


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


# Output folders


@pytest.fixture
def done(cli: Cli, tmp_path: Path) -> Path:
    """A finished run."""
    said = cli(*SAMPLE, "-o", tmp_path / "run")
    assert said.code == 0, said.err
    return tmp_path / "run"


def test_a_file_in_the_way_of_the_run_folder_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        assert_one_line(cli(*SAMPLE, "-o", folder), [str(folder), "cannot be written", "--output"])
    assert (tmp_path / "file").read_text() == "mine\n"


def test_a_folder_of_other_things_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").write_text("mine\n")
    assert_one_line(
        cli(*SAMPLE, "-o", tmp_path / "papers"),
        ["papers", "not a run folder", "thesis.tex", "choose another"],
    )
    assert [path.name for path in (tmp_path / "papers").iterdir() if path.name[0] != "."] == ["thesis.tex"]


def test_the_folder_of_another_experiment_is_left_alone(cli: Cli, done: Path) -> None:
    before = (done / "records.jsonl").read_bytes(), (done / "run.json").read_bytes()
    said = cli(*SAMPLE, "-o", done, "--limit", "3")
    assert_one_line(said, [str(done), "another experiment", "limit was None, is 3", "--output"])
    assert ((done / "records.jsonl").read_bytes(), (done / "run.json").read_bytes()) == before


def test_results_are_not_overwritten_when_that_is_forbidden(cli: Cli, done: Path) -> None:
    assert_one_line(
        cli(*SAMPLE, "-o", done, "--overwrite", "never"), [str(done), "holds results", "--overwrite never"]
    )


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("run.json", "{", ["run.json", "not readable"]),
        ("run.json", '{"schema": 99}', ["run.json", "schema version 99"]),
        ("run.json", '{"schema": 1}', ["run.json"]),
        ("run.json", "[]", ["run.json"]),
        ("records.jsonl", '{"schema": 1}\n', ["records.jsonl, line 1", "not a record"]),
        ("records.jsonl", "half a li", ["records.jsonl, line 1", "not a record"]),
        ("records.jsonl", "[]\n", ["records.jsonl, line 1", "not a record"]),
    ],
)
def test_a_damaged_run_folder_is_told_by_eval_and_by_report(
    cli: Cli, done: Path, file: str, content: str, words: list[str]
) -> None:
    (done / file).write_text(content, encoding="utf-8")
    assert_one_line(cli(*SAMPLE, "-o", done), [str(done), *words])
    said = cli("report", done)
    assert_one_line(said, [str(done), *words])
    assert "--output" not in said.err


def test_a_folder_in_use_by_another_process_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        assert_one_line(cli(*SAMPLE, "-o", tmp_path / "run"), [str(tmp_path / "run"), "in use by another"])
    assert cli(*SAMPLE, "-o", tmp_path / "run").code == 0


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


@contextlib.contextmanager
def full_disk(files: int) -> Iterator[None]:
    """A disk on which so many files can be written whole, and which is full then."""
    left = iter(range(files))
    sync = os.fsync

    def fsync(stream: Any) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


@pytest.mark.parametrize("files", [0, 1, 5, 12])
def test_a_full_disk_is_told_and_the_same_command_goes_on_later(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], files: int
) -> None:
    isolated()
    run = tmp_path / "run"
    command = ("eval", "-m", "sample", "-t", "tatoeba", "-l", "available", "--data", "sample", "-o", run)
    with full_disk(files):
        said = cli(*command)
    assert said.code == 2, said.err
    assert said.complaint.startswith("harness: ")
    assert "disk is full" in said.complaint
    assert "same command again" in said.complaint
    assert "Traceback" not in said.err
    assert not list(tmp_path.rglob("*.tmp"))
    kept = scored(run) if (run / "records.jsonl").exists() else {}
    again = cli(*command)
    assert again.code == 0, again.err
    assert f"{5 - len(kept)} units to compute, {len(kept)} done before" in again.err
    assert {unit: scored(run)[unit] for unit in kept} == kept
    assert len(scored(run)) == 5
    assert status(run) == "complete"


# Plugins that fail in the middle, and interruptions

FRAGILE = """
from dataclasses import replace
from pathlib import Path
from harness import hookimpl
from harness.formats.retrieval import Retrieval
from harness_xtreme.tatoeba import TATOEBA

class Fragile(Retrieval):
    name = "fragile"
    def decode(self, examples, outputs, tuning, neighbours):
        if examples[0].id.startswith("es") and not Path(__file__).with_name("mended").exists():
            raise RuntimeError("cannot count\\nto three")
        return super().decode(examples, outputs, tuning, neighbours)

@hookimpl
def harness_tasks():
    return [replace(TATOEBA, name="fragile", format=Fragile(searches=TATOEBA.format.searches))]
"""


@pytest.fixture
def fragile(tmp_path: Path) -> Path:
    """A plugin whose format raises for Spanish, until a file named ``mended`` lies beside it."""
    path = tmp_path / "fragile_plugin.py"
    path.write_text(FRAGILE, encoding="utf-8")
    return path


def test_a_plugin_that_raises_in_the_middle_costs_only_its_own_unit(
    cli: Cli, tmp_path: Path, fragile: Path
) -> None:
    run = tmp_path / "run"
    command = (
        "eval",
        "-m",
        "sample",
        "-t",
        "fragile,tatoeba",
        "-l",
        "de,es,sw",
        "--data",
        "sample",
        "-p",
        fragile,
    )
    said = cli(*command, "-o", run)
    assert_failed_units(
        said, ["fragile/es", "plugin fragile_plugin", "RuntimeError", "cannot count to three"]
    )
    assert "1 of 6 units failed (fragile/es); 5 done and written" in said.complaint
    before = scored(run)
    assert set(before) == {
        ("fragile", "de"),
        ("fragile", "sw"),
        *(("tatoeba", code) for code in ("de", "es", "sw")),
    }
    assert status(run) == "partial"
    for name in ("report.md", "report.html"):
        assert "cannot count to three" in (run / name).read_text(encoding="utf-8")
    (tmp_path / "mended").touch()
    said = cli(*command, "-o", run)
    assert said.code == 0, said.err
    assert "1 unit to compute, 5 done before" in said.err
    after = scored(run)
    assert after.pop(("fragile", "es"))
    assert after == before
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "complete"
    assert not any(manifest["work"].values())
    assert "cannot count" not in (run / "report.md").read_text(encoding="utf-8")


def test_fail_fast_stops_at_the_first_failure_and_keeps_what_is_done(
    cli: Cli, tmp_path: Path, fragile: Path
) -> None:
    run = tmp_path / "run"
    command = (
        "eval",
        "-m",
        "sample",
        "-t",
        "fragile,tatoeba",
        "-l",
        "de,es",
        "--data",
        "sample",
        "-p",
        fragile,
    )
    said = cli(*command, "-o", run, "--fail-fast")
    assert said.code == 2, said.err
    for word in ("harness: ", "fragile/es", "plugin fragile_plugin", "RuntimeError", "cannot count to three"):
        assert word in said.complaint
    assert "internal error" not in said.err
    assert set(scored(run)) == {("fragile", "de")}
    assert status(run) == "failed"


def test_data_that_is_malformed_inside_a_plugins_reader_is_the_plugins_fault(
    cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "reader_plugin.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from harness import FilesSource, hookimpl\n"
        "from harness_xtreme.tatoeba import TATOEBA, laser_files\n"
        "def read(paths, language):\n"
        "    raise ZeroDivisionError('no rows')\n"
        "    yield\n"
        "@hookimpl\n"
        "def harness_tasks():\n"
        "    source = FilesSource(name='own', files=laser_files, read=read, homepage='here')\n"
        "    return [replace(TATOEBA, name='unreadable', sources=(source,))]\n",
        encoding="utf-8",
    )
    command = ("eval", "-m", "sample", "-l", "de", "--data", "sample", "-p", path)
    words = ["unreadable/de", "plugin reader_plugin", "ZeroDivisionError", "no rows"]
    assert_failed_units(cli(*command, "-t", "unreadable,tatoeba", "-o", tmp_path / "run"), words)
    assert_one_line(cli(*command, "-t", "unreadable", "-o", tmp_path / "alone"), words)
    assert_one_line(cli(*command, "-t", "unreadable,tatoeba", "-o", tmp_path / "fast", "--fail-fast"), words)


def test_a_model_that_fails_while_it_runs_is_blamed_for_every_unit_and_no_plugin_is(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    isolated()

    def fail(*arguments: object) -> None:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr("harness.engine.embed.pooled_vectors", fail)
    run = tmp_path / "run"
    said = cli("eval", "-m", "sample", "-t", "tatoeba", "-l", "de,es", "--data", "sample", "-o", run)
    assert said.code == 3, said.err
    told = [line for line in said.err.splitlines() if " failed: " in line]
    assert len(told) == 2
    for line in told:
        assert "device-side assert" in line
        assert "plugin" not in line


def test_an_interruption_keeps_what_is_done_and_the_same_command_goes_on(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    command = ("eval", "-m", "sample", "-t", "tatoeba", "-l", "de,es,sw", "--data", "sample", "-o", run)
    decode = Retrieval.decode
    calls: Iterator[int] = iter(range(1))

    def interrupted(self: Retrieval, *arguments: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return decode(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Retrieval, "decode", interrupted)
        said = cli(*command)
    assert said.code == 130
    assert said.complaint == "harness: interrupted; the same command goes on from here"
    assert "Traceback" not in said.err
    assert status(run) == "interrupted"
    before = scored(run)
    assert set(before) == {("tatoeba", "de")}
    units = json.loads((run / "run.json").read_text(encoding="utf-8"))["units"]
    assert [unit["status"] for unit in units] == ["done", "missing", "missing"]
    said = cli(*command)
    assert said.code == 0, said.err
    assert "2 units to compute, 1 done before" in said.err
    assert scored(run)[("tatoeba", "de")] == before[("tatoeba", "de")]
    assert status(run) == "complete"
