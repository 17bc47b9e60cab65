"""``harness lineage``: from the base model to the last training, for people and for programs; damage is one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints import open_checkpoint

Cli = Callable[..., Any]


def test_the_lineage_of_a_checkpoint_goes_from_base_to_result(
    cli: Cli, trained_sequence: Path, sample_model: Path
) -> None:
    done = cli("lineage", trained_sequence)
    assert done.code == 0, done.err
    lines = done.out.strip().splitlines()
    base, found = open_checkpoint(str(sample_model)), open_checkpoint(str(trained_sequence))
    assert lines[0].startswith("base ")
    assert lines[0].endswith(f"weights {base.weights}")
    assert lines[-1] == f"result  weights {found.weights}"
    phases = [line for line in lines if line.startswith("phase ")]
    assert [line.split(":")[0] for line in phases] == [
        f"phase {number} intermediate, recipe {told['key']}"
        for number, told in enumerate(found.lineage, start=1)
    ]
    assert all("2 steps, seed 3, float32, rate 1e-05, warm-up 0, " in line for line in phases)
    assert sum(line.startswith("  mnli/train 30 (en): 30 examples, ") for line in lines) == 1
    assert sum(line.startswith("  squad_v1/train (en): 24 examples, ") for line in lines) == 1
    for told in found.lineage:
        for course in told["courses"]:
            assert any(line.endswith(f"data {course['data']}") for line in lines)
    assert lines.count("  changed: batch_size=4, max_steps=2, warmup=0") == 2
    assert sum(line.startswith("  ours, no source gives them: epochs, ") for line in lines) == 2
    assert [line.split(":")[0] for line in lines if line.startswith("  dev ")] == [
        f"  dev {task}/dev" for task in ("mnli", "mlm", "mnli", "squad_v1", "mlm")
    ]


def test_the_lineage_as_json_is_what_the_checkpoint_says(cli: Cli, trained_sequence: Path) -> None:
    done = cli("lineage", trained_sequence, "--json")
    told = json.loads(done.out)
    found = open_checkpoint(str(trained_sequence))
    assert told["weights"] == found.weights
    assert [phase["key"] for phase in told["phases"]] == [phase["key"] for phase in found.lineage]
    assert "lineage" not in told["phases"][0]
    own = json.loads((trained_sequence / "training.json").read_text(encoding="utf-8"))
    assert told["phases"] == [*own.pop("lineage"), own]


@pytest.mark.parametrize("name", ["sample", "no-such-folder"])
def test_what_lineage_does_not_take_is_not_advised(cli: Cli, name: str) -> None:
    done = cli("lineage", name)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"harness: no model folder {name}; give a folder or a hub id (owner/name)\n"


def test_a_folder_without_a_history_has_only_weights(cli: Cli, sample_model: Path) -> None:
    done = cli("lineage", sample_model)
    weights = open_checkpoint(str(sample_model)).weights
    assert done.out.strip() == f"base    no training of this harness made it; weights {weights}"
    assert json.loads(cli("lineage", sample_model, "--json").out) == {"weights": weights, "phases": []}


OURS = '"schema": 2, "key": "a", "courses": []'


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"lineage": 3}', '{"epochs": 3, "courses": []}'])
def test_another_tool_s_file_of_that_name_is_no_history(
    cli: Cli, trained_sequence: Path, tmp_path: Path, content: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained_sequence, copy)
    (copy / "training.json").write_text(content, encoding="utf-8")
    done = cli("lineage", copy)
    assert done.code == 0, done.err
    assert done.out.startswith("base    no training of this harness made it; ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"schema": 1, "key": "a", "courses": []}',
        f"{{{OURS}}}".encode(),
        f'{{{OURS}, "lineage": 3}}'.encode(),
        f'{{{OURS}, "lineage": []}}'.encode(),
        f'{{{OURS}, "lineage": [1]}}'.encode(),
        f'{{{OURS}, "lineage": [{{}}]}}'.encode(),
    ],
)
def test_a_damaged_history_is_one_line(
    cli: Cli, trained_sequence: Path, tmp_path: Path, content: bytes
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained_sequence, copy)
    (copy / "training.json").write_bytes(content)
    done = cli("lineage", copy)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert str(copy / "training.json") in done.complaint


def test_no_folder_is_one_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("lineage", tmp_path / "nothing")
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1)


PROGRAM = """
import sys
from harness.cli.main import _run
code = _run(sys.argv[1:], debug=False)
print("HEAVY", *[name for name in ("torch", "transformers", "datasets") if name in sys.modules])
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments", [("lineage",), ("train", "--help"), ("lineage", "--help")], ids=" ".join
)
def test_what_only_tells_imports_nothing_heavy(
    isolated: object, trained_sequence: Path, arguments: tuple[str, ...]
) -> None:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    if arguments == ("lineage",):
        command.append(str(trained_sequence))
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, encoding="utf-8", env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert len(lines) > 3
    assert lines[-1] == "HEAVY"
