"""``harness train``: options become stages, what is wrong is one line, and folders that stand there are safe."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness import training
from harness.checkpoints import open_checkpoint
from harness.engine.session import Compute
from harness.stages import MaskedShare, Sampler, Stage, Translated
from harness.training import Chain

Cli = Callable[..., Any]
FAST = (
    "--data",
    "sample",
    "--hyper",
    "max_steps=2",
    "--hyper",
    "batch_size=4",
    "--hyper",
    "warmup=0",
    "--device",
    "cpu",
)
TRAIN = ("train", "-m", "sample", *FAST)
CALLED_OFF = "harness: interrupted; the same command goes on from here"


# Options


@dataclass(kw_only=True)
class Caught:
    """What the command would have done."""

    chain: list[Chain] = field(default_factory=list)
    compute: list[Compute] = field(default_factory=list)
    output: list[Path | None] = field(default_factory=list)
    overwrite: list[bool] = field(default_factory=list)


@pytest.fixture
def caught(cli: Cli, monkeypatch: pytest.MonkeyPatch, sample_model: Path) -> Caught:
    """Nothing is trained; what was asked for is kept."""
    found = Caught()

    def carried_out(
        chain: Chain,
        _catalog: object,
        compute: Compute,
        _told: object,
        output: Path | None,
        *,
        overwrite: bool,
    ) -> Path:
        found.chain.append(chain)
        found.compute.append(compute)
        found.output.append(output)
        found.overwrite.append(overwrite)
        return sample_model

    monkeypatch.setattr(training, "carried_out", carried_out)
    return found


EVERY: list[tuple[tuple[str, ...], list[Stage]]] = [
    (("-t", "mnli,qqp"), [Stage(tasks=("mnli", "qqp"))]),
    (("-t", "mnli", "-t", " qqp ,copa"), [Stage(tasks=("mnli", "qqp", "copa"))]),
    (("-t", "mnli,qqp", "--schedule", "sequential"), [Stage(tasks=("mnli",)), Stage(tasks=("qqp",))]),
    (("-t", "qqp,mnli,qqp", "--schedule", "sequential"), [Stage(tasks=(name,)) for name in ("qqp", "mnli", "qqp")]),
    (
        ("-t", "mnli,qqp", "--sampler", "temperature", "--temperature", "2", "--cap", "9"),
        [Stage(tasks=("mnli", "qqp"), sampler=Sampler(kind="temperature", temperature=2.0, cap=9))],
    ),
    (("-t", "mnli,qqp", "--sampler", "uniform"), [Stage(tasks=("mnli", "qqp"), sampler=Sampler(kind="uniform"))]),
    (
        ("-t", "mnli,qqp", "--share", "mnli=3", "--share", "qqp=1"),
        [Stage(tasks=("mnli", "qqp"), sampler=Sampler(kind="fixed", shares={"mnli": 3.0, "qqp": 1.0}))],
    ),
    (
        ("-t", "mnli", "--mlm-share", "0.2", "--mlm-tasks", "mlm,tlm", "--mlm-languages", "de,sw", "--mlm-alpha", "0.5"),
        [Stage(tasks=("mnli",), masked=MaskedShare(share=0.2, tasks=("mlm", "tlm"), languages=("de", "sw"), alpha=0.5))],
    ),
    (
        ("-t", "mnli,qqp", "--train-size", "10%", "--train-size", "qqp=500", "--train-from", "mnli=dev:0-9"),
        [Stage(tasks=("mnli", "qqp"), sizes={"": "10%", "qqp": "500"}, train_from={"mnli": "dev:0-9"})],
    ),
    (
        ("-t", "mnli,qqp", "--translated", "de,es:0.25", "--translated", "qqp=sw"),
        [
            Stage(
                tasks=("mnli", "qqp"),
                translated={
                    "": Translated(languages=("de", "es"), share=0.25),
                    "qqp": Translated(languages=("sw",), share=0.5),
                },
            )
        ],
    ),
    (
        ("-t", "mnli,tlm", "--schedule", "sequential", "--set", "tlm.share=0.3"),
        [Stage(tasks=("mnli",)), Stage(tasks=("tlm",), settings={"tlm": {"share": "0.3"}})],
    ),
    # What is said of one task of a sequence reaches that one alone.
    (
        ("-t", "mnli,qqp", "--schedule", "sequential", "--train-size", "qqp=5", "--hyper", "mnli.epochs=1", "--hyper", "clip=2"),
        [
            Stage(tasks=("mnli",), hyper={"": {"clip": "2"}, "mnli": {"epochs": "1"}}),
            Stage(tasks=("qqp",), hyper={"": {"clip": "2"}}, sizes={"qqp": "5"}),
        ],
    ),
    (
        ("-t", "mlm,mnli", "--schedule", "sequential", "--mlm-languages", "de", "--mlm-alpha", "0.5", "--apart", "xtreme"),
        [
            Stage(tasks=(name,), masked=MaskedShare(languages=("de",), alpha=0.5), apart=("xtreme",))
            for name in ("mlm", "mnli")
        ],
    ),
    (("-t", "translation_ranking", "--apart", "tatoeba"), [Stage(tasks=("translation_ranking",), apart=("tatoeba",))]),
    (
        ("-t", "mnli", "--mlm-share", "0.5", "--train-size", "mlm=5"),
        [Stage(tasks=("mnli",), masked=MaskedShare(share=0.5), sizes={"mlm": "5"})],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "stages"), EVERY, ids=[" ".join(options) for options, _ in EVERY])
def test_options_become_stages(
    cli: Cli, caught: Caught, options: tuple[str, ...], stages: list[Stage]
) -> None:
    done = cli("train", "-m", "sample", "--data", "sample", *options)
    assert done.code == 0, done.err
    assert list(caught.chain[0].stages) == stages


def test_everything_else_reaches_its_place(cli: Cli, caught: Caught, tmp_path: Path) -> None:
    done = cli("train", "-m", "sample", "-t", "mnli", "--data", "sample", "--device", "cpu")
    assert done.code == 0, done.err
    usual = caught.chain[0]
    assert (usual.protocol, usual.seed, usual.dtype, usual.location.kind) == (
        "phang2020",
        0,
        "float32",
        "sample",
    )
    assert usual.base.name == "sample"
    assert (caught.output, caught.overwrite) == ([None], [False])
    assert not caught.compute[0].gradient_checkpointing
    assert not caught.compute[0].deterministic
    more = "--protocol xtreme --seed 4 --dtype bfloat16 --gradient-checkpointing --deterministic".split()
    done = cli(
        "train", "-m", "sample", "-t", "mnli", "--data", "hub", *more, "-o", tmp_path / "out", "--overwrite", "--offline"
    )  # fmt: skip
    assert done.code == 0, done.err
    other, compute = caught.chain[1], caught.compute[1]
    assert (other.protocol, other.seed, other.dtype) == ("xtreme", 4, "bfloat16")
    assert (other.location.kind, other.location.offline) == ("hub", True)
    assert (compute.gradient_checkpointing, compute.deterministic, compute.dtype) == (True, True, "bfloat16")
    assert (caught.output[1], caught.overwrite[1]) == (tmp_path / "out", True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "Missing option '-t'"),
        (("-t", " , "), "no task is given"),
        (("-t", "nosuch"), "unknown task 'nosuch'"),
        (("-t", "tatoeba"), "'tatoeba'"),
        (("-t", "mnli", "--mlm-share", "1"), "masked-LM share 1.0: must be from 0 to below 1"),
        (("-t", "mnli", "--mlm-share", "nan"), "masked-LM share nan"),
        (("-t", "mnli", "--mlm-share", "0.1", "--mlm-alpha", "2"), "masked-LM alpha 2.0"),
        (("-t", "mnli", "--mlm-share", "0.1", "--mlm-languages", "fr"), "mlm/train: no text for fr"),
        (
            ("-t", "translation_ranking", "--mlm-share", "0.1", "--mlm-languages", "en"),
            "task 'translation_ranking' has none of the languages that are to be learned (en); name one of its own too",
        ),
        (("-t", "mnli,tlm", "--schedule", "sequential", "--set", "tlm.shore=1"), "settings of task 'tlm': no setting 'shore'"),
        (("-t", "mnli", "--temperature", "0.5"), "temperature 0.5: must be at least 1"),
        (("-t", "mnli", "--cap", "0"), "cap 0: must be at least 1"),
        (("-t", "mnli", "--sampler", "fixed"), "shares are given exactly for the sampler 'fixed'"),
        (("-t", "mnli", "--share", "0.5"), "--share 0.5: give TASK=VALUE"),
        (("-t", "mnli", "--share", "mnli=0"), "--share mnli=0: a share is a number above 0"),
        (("-t", "mnli", "--share", "mnli=much"), "--share mnli=much"),
        (("-t", "mnli,qqp", "--share", "mnli=1"), "shares are given for mnli, the tasks are mnli, qqp"),
        (("-t", "mnli", "--share", "mnli=1", "--sampler", "uniform"), "--share and --sampler uniform exclude each other"),
        (("-t", "mnli", "--train-size", "qqp=5"), "--train-size qqp=5: task 'qqp' is not learned; there are mnli"),
        (("-t", "mnli", "--train-size", "mnli="), "--train-size mnli=: give TASK=VALUE"),
        (("-t", "mnli", "--train-size", "0"), "training size '0' leaves nothing to learn from"),
        (("-t", "mnli", "--translated", "de:2"), "translated share 2.0"),
        (("-t", "mnli", "--translated", "de:half"), "--translated de:half"),
        (("-t", "mnli", "--translated", "sw"), "translation of mnli/train into 'sw'"),
        (("-t", "mnli", "--hyper", "epochs"), "--hyper epochs: give [TASK.]NAME=VALUE"),
        (("-t", "mnli", "--hyper", "nosuch=1"), "no hyper-parameter 'nosuch'"),
        (("-t", "mnli", "--hyper", "qqp.epochs=1"), "--hyper qqp.epochs=1: task 'qqp' is not selected"),
        (("-t", "mnli", "--hyper", "clip=1", "--hyper", "clip=2"), "--hyper clip is given twice, as 1 and 2"),
        (
            ("-t", "mnli", "--hyper", "mnli.clip=1", "--hyper", "mnli.clip=1"),
            "--hyper mnli.clip is given twice, as 1 and 1; leave one out",
        ),
        (("-t", "mnli", "--hyper", "lora_rank=1.5"), "(give a whole number, at least 0 and at most 4,096)"),
        (("-t", "mnli", "--hyper", "lora_rank=99999999"), "(must be at most 4,096)"),
        (("-t", "mnli", "--hyper", "patience=often"), "(give a whole number, at least 1, or none)"),
        (("-t", "mnli", "--hyper", "dropout=much"), "(give a number, at least 0 and below 1, or none)"),
        (("-t", "mnli", "--hyper", "epochs=inf"), "epochs=inf is not allowed (must be at most 1,000,000,000,000)"),
        (("-t", "mlm", "--apart", ""), "--apart '': name tasks or suites, e.g. xtreme"),
        (("-t", "mlm", "--apart", "xtreme", "--apart", " ,"), "--apart ' ,': name tasks or suites, e.g. xtreme"),
        (("-t", "mlm", "--apart", "tl*"), "'tl*' names no task that is scored"),
        (("-t", "mnli", "--train-from", "a/b/c"), "--train-from a/b/c: give"),
        (("-t", "mnli", "--seed", "-1"), "Invalid value for '--seed'"),
        (("-t", "mnli", "--schedule", "both"), "Invalid value for '--schedule'"),
        (
            ("-t", "mnli,qqp", "--protocol", "mine"),
            "mnli and qqp: there is no protocol 'mine'; name one with --protocol (in a recipe, protocol): phang2020, xtreme",
        ),
        (
            ("-t", "mnli", "--apart", "xtreme"),
            "--apart goes with tasks of texts in many languages only (mlm, tlm, translation_ranking), and mnli learns from none; ",
        ),
        (("-t", "mnli,qqp", "--mlm-languages", "de"), "--mlm-languages goes with tasks of texts in many languages only"),
        (("-t", "mnli", "--mlm-alpha", "0.3"), "--mlm-alpha goes with tasks of texts in many languages only"),
        (("-t", "mlm", "--mlm-tasks", "mlm"), "--mlm-tasks goes with --mlm-share only; without it nothing is mixed in"),
        (("-t", "mnli", "--set", "mlm.share=0.3"), "--set mlm.share=0.3: task 'mlm' is not selected"),
        (("-t", "mnli", "--train-size", "mlm=5"), "--train-size mlm=5: task 'mlm' is not learned; there are mnli"),
        (("-t", "mnli", "--hyper", "mlm.epochs=1"), "--hyper mlm.epochs=1: task 'mlm' is not selected"),
        (
            ("-t", "mnli,qqp", "--schedule", "sequential", "--sampler", "uniform"),
            "--sampler goes with several tasks learned at once only (--schedule multitask); leave it out",
        ),
        (("-t", "mnli", "--mlm-share", "0.2", "--sampler", "proportional"), "--sampler goes with several tasks"),
        (("-t", "mnli", "--temperature", "1"), "--temperature goes with several tasks learned at once only"),
        (("-t", "mnli", "--cap", "9"), "--cap goes with several tasks learned at once only"),
        (("-t", "mnli", "--share", "mnli=1"), "--share goes with several tasks learned at once only"),
        (
            ("-t", "mnli,qqp", "--sampler", "temperature"),
            "--sampler temperature needs --temperature, 1 (proportional) or more",
        ),
        (("-t", "mnli,qqp", "--temperature", "1"), "--temperature goes with --sampler temperature only"),
        (
            ("-t", "mnli", "--train-from", "train:100000"),
            "task 'mnli': --train-from: 100000 examples of mnli/train are wanted; there are only 60 examples",
        ),
        (("-t", "mnli", "--train-from", "train:50-60"), "rows 50 to 60 of mnli/train are wanted; there are only 60"),
        (("-t", "mlm", "--mlm-languages", "de", "--train-from", "train:9999"), "9999 examples of mlm/train are wanted"),
        (("-t", "mnli", "--device", "tpu"), "tpu"),
        (("-t", "mnli", "--data", "nowhere"), "nowhere"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dry", [True, False])
def test_a_bad_option_is_one_line_and_trains_nothing(
    cli: Cli, isolated: Callable[..., Path], options: tuple[str, ...], told: str, dry: bool
) -> None:
    home = isolated()
    done = cli("train", "-m", "sample", "--data", "sample", *options, *(("--dry-run",) if dry else ()))
    assert done.code == 2
    assert told in done.complaint
    assert not done.out
    assert not list(home.glob("checkpoints/*"))


def test_a_model_that_is_not_there_is_one_line(cli: Cli) -> None:
    done = cli("train", "-m", "no-such-folder", "-t", "mnli", "--data", "sample")
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1)
    assert "no model folder no-such-folder" in done.complaint


# Dry run


def test_a_dry_run_says_what_would_be_learned(cli: Cli, isolated: Callable[..., Path]) -> None:
    home = isolated()
    options = (
        "-t",
        "mnli,squad_v1",
        "--mlm-share",
        "0.25",
        "--train-size",
        "mnli=50%",
        "--hyper",
        "max_length=60",
    )
    done = cli("train", "-m", "sample", "--data", "sample", *options, "--dry-run", "--seed", "7")
    assert done.code == 0, done.err
    first, schedule, changed, *courses = done.out.strip().splitlines()
    assert first.startswith("train   ")
    assert schedule == "  learning rate 1e-05, warm-up 10 %, weight decay 0.01, gradient norm up to 1"
    assert changed == "  changed: max_length=60"
    # 30 pairs in batches of 32 and 24 questions in batches of 16, three epochs; a quarter of all steps on top.
    assert "on sample: 12 steps or more, seed 7; ours: epochs, batch_size" in first
    assert courses[0] == (
        "  mnli/train 50%: 30 examples (en), drawn with 0.417, 3 epochs, 32 a step, 60 tokens, chosen on mnli/dev"
    )
    assert courses[1] == (
        "  squad_v1/train: 24 examples (en), drawn with 0.333, 3 epochs, 16 a step, 60 tokens, chosen on squad_v1/dev"
    )
    assert courses[2].startswith("  mlm/train: 258 examples (ar,de,en,es,sw,zh), drawn with 0.250, 1 epochs")
    assert courses[2].endswith("no selection")
    assert len(courses) == 3
    assert not list(home.glob("checkpoints/*"))


def test_a_dry_run_says_what_is_left_out_and_what_could_not_be_looked_at(cli: Cli, tmp_path: Path) -> None:
    evaluated = ["Die Katze schläft heute Nacht am Ofen.", "Niemand weiß heute Abend den Weg nach Hause."]
    own = [f"Satz {word} handelt von {word} Dingen und sonst nichts." for word in "abcdef"]
    for name, lines in {
        "text/de.train.txt": [*own, evaluated[0]],
        "tatoeba/v1/tatoeba.deu-eng.deu": evaluated,
        "tatoeba/v1/tatoeba.deu-eng.eng": ["One.", "Two."],
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ("train", "-m", "sample", "-t", "mlm", "--data", tmp_path, "--apart", "tatoeba", "--dry-run")
    done = cli(*options)
    assert done.code == 0, done.err
    _, _, learned, kept = done.out.splitlines()
    assert learned.startswith("  mlm/train: 6 examples (de), ")
    assert kept == "    kept apart from tatoeba: 1 texts left out"
    # A copy of a test set that cannot be read.
    (tmp_path / "tatoeba/v1/tatoeba.deu-eng.eng").write_text("One.\n", encoding="utf-8")
    *_, kept, unread = cli(*options).out.splitlines()
    assert kept == "    kept apart from tatoeba: 0 texts left out"
    assert unread.startswith("    evaluated sets that are not at hand (tatoeba/de/test, tatoeba/de/dev); ")
    (course,) = json.loads(cli(*options, "--json").out)[0]["courses"]
    assert (course["apart"], course["left_out"], course["examples"]) == (["tatoeba"], 0, 7)
    assert course["caveats"] == [unread.strip()]


def test_a_dry_run_as_json_is_for_programs(cli: Cli) -> None:
    done = cli(*TRAIN, "-t", "mnli,copa", "--schedule", "sequential", "--dry-run", "--json")
    assert done.code == 0, done.err
    phases = json.loads(done.out)
    assert [[course["task"] for course in phase["courses"]] for phase in phases] == [["mnli"], ["copa"]]
    assert [phase["done"] for phase in phases] == [False, False]
    assert [phase["steps"] for phase in phases] == [2, 2]
    assert phases[0]["watched"] == ["mnli/dev"]
    assert all("epochs" in phase["ours"] for phase in phases)


def test_a_dry_run_knows_what_is_done(cli: Cli, isolated: Callable[..., Path]) -> None:
    """A later phase on another parent is not done because the same one on the base is."""
    isolated()
    assert cli(*TRAIN, "-t", "copa").code == 0
    sequence = (*TRAIN, "-t", "mnli,copa", "--schedule", "sequential")

    def done() -> list[bool]:
        return [phase["done"] for phase in json.loads(cli(*sequence, "--dry-run", "--json").out)]

    assert done() == [False, False]
    assert cli(*TRAIN, "-t", "mnli").code == 0
    assert done() == [True, False]
    assert cli(*sequence).code == 0
    assert done() == [True, True]
    assert "done before" in cli(*sequence, "--dry-run").out


# The folder


def test_what_was_learned_is_told(cli: Cli, isolated: Callable[..., Path], tmp_path: Path) -> None:
    home = isolated()
    out = tmp_path / "deep" / "out"
    done = cli(*TRAIN, "-t", "mnli", "--mlm-share", "0.5", "-o", out)
    assert done.code == 0, done.err
    lines = done.out.strip().splitlines()
    assert lines[0].startswith("learned mnli/train: ")
    assert lines[1].startswith("learned mlm/train: ")
    assert [line.split(":")[0] for line in lines[2:4]] == ["dev mnli/dev", "dev mlm/dev"]
    assert lines[-1] == f"checkpoint: {out}"
    (cached,) = (path for path in home.glob("checkpoints/*") if path.is_dir())
    assert open_checkpoint(str(out)).weights == open_checkpoint(str(cached)).weights
    # Without --output it stays in the cache; the same command trains nothing.
    again = cli(*TRAIN, "-t", "mnli", "--mlm-share", "0.5", "--json")
    told = json.loads(again.out)
    assert Path(told["folder"]) == cached
    assert told["lineage"][-1]["key"] == cached.name
    assert "training on" not in again.err


def test_another_s_folder_is_left_alone(cli: Cli, isolated: Callable[..., Path], tmp_path: Path) -> None:
    """Whether or not --overwrite is given, and before anything is trained."""
    home = isolated()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    for output in (tmp_path / "mine", tmp_path / "file"):
        for more in ((), ("--overwrite",)):
            done = cli(*TRAIN, "-t", "mnli", "-o", output, *more)
            assert done.code == 2
            assert f"{output} is there and is no checkpoint of this harness" in done.complaint
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "years of work"
    assert not list(home.glob("checkpoints/*"))


def test_a_checkpoint_is_replaced_only_when_that_is_wanted(
    cli: Cli, trained_sequence: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained_sequence, out)
    before = open_checkpoint(str(out)).weights
    done = cli(*TRAIN, "-t", "copa", "-o", out)
    assert done.code == 2
    assert f"{out} holds a checkpoint already; choose another --output, or give --overwrite" in done.complaint
    assert open_checkpoint(str(out)).weights == before
    done = cli(*TRAIN, "-t", "copa", "-o", out, "--overwrite")
    assert done.code == 0, done.err
    after = open_checkpoint(str(out))
    assert set(after.heads) == {"copa"}
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_checkpoint_may_be_trained_on_in_its_own_place(
    cli: Cli, trained_sequence: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained_sequence, out)
    done = cli("train", "-m", out, *FAST, "-t", "copa", "-o", out, "--overwrite")
    assert done.code == 0, done.err
    after = open_checkpoint(str(out))
    assert set(after.heads) == {"mnli", "squad_v1", "mlm", "copa"}
    assert len(after.lineage) == 3


def _interrupted() -> None:
    raise KeyboardInterrupt


def _terminated() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("stopped", [_interrupted, _terminated])
def test_an_interrupted_command_says_so_and_goes_on(
    cli: Cli, isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, stopped: Callable[[], None]
) -> None:
    """Exit code 130 as for any interrupted program; the finished phase and the state of the next are kept.

    A container or a cluster that takes back its machine sends SIGTERM.
    """
    from harness.engine.train import Trainer

    home = isolated()
    step, steps = Trainer._step, list[int]()

    def interrupted(self: Trainer, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 4:
            stopped()
        return step(self, *arguments)

    command = (*TRAIN, "-t", "mnli,copa", "--schedule", "sequential")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        done = cli(*command)
    assert done.code == 130
    assert done.complaint == CALLED_OFF
    assert len(list(home.glob("checkpoints/*/training.json"))) == 1
    done = cli(*command)
    assert done.code == 0, done.err
    assert done.err.count("training on") == 1
    assert "copa/train" in done.err
