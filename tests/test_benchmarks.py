"""The one table of benchmarks: how rows come about, what is kept, what is written. How fast anything is, is no test's business."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sidebyside
import table
import torch
from sidebyside import Goal, Row, Turn

FOLDER = Path(__file__).parents[1] / "benchmarks"
# A benchmark of two ways; of each turn of any worker it leaves a letter in a file.
SCRIPT = """
import sys
from pathlib import Path
import sidebyside

def prepare(case):
    prepared = [0]
    def ready():
        prepared[0] += 1
        def work():
            print("what libraries print")
            if case["way"] == "broken":
                raise ValueError("it broke")
            with Path(case["file"]).open("a") as file:
                file.write(case["way"])
            return {"turn": prepared[0], "size": case["size"]}
        return work
    return ready

options = sidebyside.parser(None, rounds=3).parse_args()
if options.worker:
    sidebyside.serve(options.worker, prepare)
else:
    Path(options.data, "runs").open("a").write("x")
    if Path(options.data, "broken").exists():
        sys.exit("nothing works")
    row = sidebyside.Row(what="w", way="a", against="b", ratio=2.0, goal=sidebyside.Goal(most=3.0), note="n")
    sidebyside.tell([row], options)
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A benchmark that measures nothing."""
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, "utf-8")
    return path


def turns(*seconds: float, memory: float = 1.0) -> list[Turn]:
    """Turns of one way that took so long."""
    return [Turn(seconds=took, memory=memory + place) for place, took in enumerate(seconds)]


def test_a_ratio_is_the_median_within_the_rounds() -> None:
    measured = {"a": turns(1, 20, 9), "b": turns(2, 10, 3, memory=5)}
    row = sidebyside.compared("x", measured, "a", "b", goal=Goal(most=1.1))
    assert (row.ratio, row.low, row.high) == (2, 0.5, 3)
    assert (row.seconds, row.memory) == ((9, 3), (3, 7))
    assert sidebyside.cells(row)[3:9] == ("2.00 × time", "0.50 – 3.00", "≤ 1.1", "no", "9 / 3", "3 / 7")
    faster = sidebyside.compared("x", measured, "a", "b", kind="speed", goal=Goal(least=0.5))
    assert (faster.ratio, faster.low, faster.high) == (0.5, 1 / 3, 2)
    assert sidebyside.cells(faster)[3:7] == ("0.50 × speed", "0.33 – 2.00", "≥ 0.5", "yes")


def test_what_could_not_be_measured_is_a_row_with_the_reason() -> None:
    row = sidebyside.missing("x", "a", "b", "mteb is not installed")
    assert sidebyside.cells(row) == (
        "x",
        "a",
        "b",
        "",
        "",
        "",
        "",
        "",
        "",
        "not measured: mteb is not installed",
    )


def test_a_row_comes_back_from_json() -> None:
    for goal in (None, Goal(least=2.5)):
        row = Row(what="x", way="a", against="b", ratio=1.5, goal=goal, seconds=(1.0, 2.0))
        assert Row.of_json(json.loads(json.dumps(dataclasses.asdict(row)))) == row


def test_workers_take_turns_and_a_warm_turn_does_not_count(script: Path, tmp_path: Path) -> None:
    file = tmp_path / "turns"
    cases = {way: {"way": way, "file": str(file), "size": 5} for way in "ab"}
    found = sidebyside.in_turn(str(script), cases, 3, warm={"size": 1})
    assert file.read_text("utf-8") == "ab" + "ab" * 3
    assert [turn.said for turn in found["a"]] == [{"turn": number, "size": 5} for number in (1, 2, 3)]
    assert all(turn.memory > 1 and turn.seconds >= 0 for way in found.values() for turn in way)


def test_a_worker_that_breaks_says_why(script: Path, tmp_path: Path) -> None:
    cases = {"broken": {"way": "broken", "file": "", "size": 1}}
    with pytest.raises(SystemExit, match="ValueError: it broke"):
        sidebyside.in_turn(str(script), cases, 1)


def test_a_whole_process_is_measured_and_heard() -> None:
    command = [sys.executable, "-c", "print('first'); print('[1, 2]')"]
    turn = sidebyside.whole(command, os.environ)
    assert turn.said == [1, 2]
    assert turn.memory > 1
    with pytest.raises(SystemExit, match=r"ended with 3: why"):
        sidebyside.whole(
            [sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"], os.environ
        )


@pytest.fixture
def bench(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table's program with two parts, of this benchmark, with its results and its page in a scratch folder."""
    parts = {name: table.Part(script=str(script)) for name in ("one", "two")}
    monkeypatch.setattr(table, "PARTS", parts)
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", "utf-8")
    return tmp_path


def run(bench: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """How often a part was measured until now."""
    monkeypatch.setattr(sys, "argv", ["table.py", "--data", str(bench), *options])
    table.main()
    return (bench / "runs").read_text("utf-8")


def test_the_table_replaces_what_is_between_the_marks(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(bench, monkeypatch) == "xx"
    lines = (bench / "page.md").read_text("utf-8").splitlines()
    assert lines[:2] == ["before", table.BEGIN]
    assert lines[-2:] == [table.END, "after"]
    assert "old" not in lines
    assert lines.count("| w | a | b | 2.00 × time | 0.00 – 0.00 | ≤ 3 | yes |  |  | n |") == 2
    assert run(bench, monkeypatch) == "xxxx"
    assert (bench / "page.md").read_text("utf-8").splitlines() == lines


def test_parts_that_are_done_are_kept_until_the_table_is_whole(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bench, monkeypatch, "--only", "one") == "x"
    assert "the page is written when all parts are there; missing: two" in capsys.readouterr().out
    assert "old" in (bench / "page.md").read_text("utf-8")
    assert run(bench, monkeypatch) == "xx"
    assert capsys.readouterr().out.count("2.00 × time") == 2
    assert "old" not in (bench / "page.md").read_text("utf-8")


def test_a_part_measured_in_another_setting_is_measured_again(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(bench, monkeypatch, "--only", "one")
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    assert run(bench, monkeypatch) == "xxx"


def test_a_part_that_fails_is_told_and_measured_again(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench / "broken").touch()
    with pytest.raises(SystemExit) as ended:
        run(bench, monkeypatch)
    assert ended.value.code == 1
    assert capsys.readouterr().out.count("failed: nothing works") == 2
    (bench / "broken").unlink()
    assert run(bench, monkeypatch) == "xxxx"


def test_a_page_without_marks_and_an_unknown_part_are_refused(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench / "page.md").write_text(f"{table.END} {table.BEGIN}", "utf-8")
    with pytest.raises(SystemExit, match="must be there once each, in this order"):
        run(bench, monkeypatch)
    with pytest.raises(SystemExit, match="no such part; there are one, two"):
        run(bench, monkeypatch, "--only", "three")


def test_the_documentation_has_a_place_for_the_table() -> None:
    text = (FOLDER.parent / "docs" / "performance.md").read_text("utf-8")
    assert text.count(table.BEGIN) == text.count(table.END) == 1


def test_every_part_is_a_script_that_is_there() -> None:
    assert all((FOLDER / part.script).is_file() for part in table.PARTS.values())


def test_scoring_gives_the_same_values_on_both_sides(tmp_path: Path) -> None:
    few = ("--tokens", "2000", "--questions", "100", "--pairs", "50", "--rounds", "1")
    rows = measured("scoring.py", tmp_path, *few)
    assert [row["what"].split(",")[0] for row in rows] == [
        "tag F1",
        "tag F1",
        "SQuAD EM and F1",
        "margin scores",
    ]
    assert all(row["note"].startswith("the same value, ") for row in rows)


def measured(script: str, folder: Path, *arguments: str) -> list[Mapping[str, Any]]:
    """The rows that a benchmark gives."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments, "--json", str(folder / "rows.json")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows: list[Mapping[str, Any]] = json.loads((folder / "rows.json").read_text("utf-8"))
    return rows


def printed(script: str, *arguments: str) -> list[list[str]]:
    """What a benchmark prints, as the words of each line."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.full
def test_packing_compares_four_ways_that_agree() -> None:
    lines = printed("packing.py", "--rows", "40", "--layers", "1", "--repeats", "1")
    ways = [line[0] for line in lines if line[:1] in (["plain"], ["sorted"], ["padded"], ["packed"])]
    assert ways == 4 * ["plain", "sorted", "padded", "packed"]


@pytest.mark.full
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_gpu_says_where_there_is_none() -> None:
    (line,) = printed("gpu.py")
    assert line[:4] == ["no", "CUDA", "device", "here:"]


@pytest.mark.full
@pytest.mark.usefixtures("minilm")
@pytest.mark.parametrize("name", table.PARTS)
def test_each_part_runs_at_tiny_sizes(name: str, real_data: Path, tmp_path: Path) -> None:
    part = table.PARTS[name]
    rows = measured(part.script, tmp_path, *part.quick.split(), "--data", str(real_data))
    assert rows
    for row in rows:
        if row["ratio"] is None:
            assert row["note"].startswith("not measured: ") or not row["against"]
        else:
            assert row["low"] <= row["ratio"] <= row["high"]
            assert min(row["memory"]) > 1
    if name == "reading":
        assert {row["note"] for row in rows} == {"same answers 100.00%"}


@pytest.mark.full
def test_without_data_the_rows_say_so(tmp_path: Path) -> None:
    for script in ("retrieval.py", "training.py", "inference.py", "reading.py"):
        rows = measured(script, tmp_path, "--data", str(tmp_path / "none"))
        assert rows
        assert all(row["ratio"] is None and row["note"].startswith("not measured: no ") for row in rows)


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_measures_a_card_runs_on_a_cpu_and_its_checks_hold(dtype: str) -> None:
    """The predictor, the trainer and the search with toy models; the program itself says where a result is not the CPU's."""
    lines = printed("gpu.py", "--device", "cpu", "--tiny", "--repeats", "1", "--dtype", dtype)
    kinds = ("classification", "tagging", "questions")
    ways = [tuple(line[:2]) for line in lines if line[1:2] in (["padded"], ["packed"])]
    assert ways == [(kind, way) for kind in kinds for way in ("padded", "packed")]
    assert [line[0] for line in lines if line[1:2] == ["32"]] == list(kinds)
    assert sum(line[:1] == ["check:"] for line in lines) == 12
    assert any(line[:3] == ["all", "test", "sets"] for line in lines)
