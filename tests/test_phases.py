"""Plans of fine-tunings: what the options mean, what decides a training's key, and what must not be scored after it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness_tasks
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import sources
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.curriculum import Phase, Taught
from harness.errors import DataError, SpecError, UnknownNameError, UsageError
from harness.learned import Learned, learned_from
from harness.phases import PhasePlanner
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.taughtsets import TaughtSets, read_taught
from harness.teaching import Teaching, TrainFrom, parse_head_labels, parse_hyper, parse_train_from

SAMPLES = Path(str(harness_tasks.__file__)).parent / "samples"
TASKS = ("panx", "pawsx", "udpos", "xnli", "xquad")
HYPER = {
    "epochs": "0.5",
    "batch_size": "7",
    "learning_rate": "1e-3",
    "warmup": "3",
    "weight_decay": "0.2",
    "clip": "0.7",
    "evaluate_every": "4",
    "patience": "2",
    "select_limit": "3",
    "dropout": "0",
    "max_steps": "5",
    "max_length": "64",
    "select": "last",
}


# --train-from


@pytest.mark.parametrize(
    ("text", "task", "wanted"),
    [
        ("train", "", TrainFrom(task=None, split="train", rows=None)),
        ("train:20", "", TrainFrom(task=None, split="train", rows=(0, 20))),
        ("train:5-9", "", TrainFrom(task=None, split="train", rows=(5, 10))),
        ("train:5-5", "", TrainFrom(task=None, split="train", rows=(5, 6))),
        ("pawsx=dev:0-5", "pawsx", TrainFrom(task=None, split="dev", rows=(0, 6))),
        ("xnli=xnli/dev", "xnli", TrainFrom(task="xnli", split="dev", rows=None)),
        ("squad_v1/dev:3", "", TrainFrom(task="squad_v1", split="dev", rows=(0, 3))),
        (" udpos=udpos-syntactic/dev ", "udpos", TrainFrom(task="udpos-syntactic", split="dev", rows=None)),
        ("xnli=mnli/dev_mismatched:2", "xnli", TrainFrom(task="mnli", split="dev_mismatched", rows=(0, 2))),
    ],
)
def test_a_training_set_is_given_by_task_other_task_split_and_rows(
    text: str, task: str, wanted: TrainFrom
) -> None:
    assert parse_train_from([text], TASKS) == {task: wanted}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "give [TASK=][OTHER/]SPLIT[:RANGE], e.g. pawsx=dev:500"),
        ("train:", "give [TASK=]"),
        ("train:a", "give [TASK=]"),
        ("train:-3", "give [TASK=]"),
        ("train:3-", "give [TASK=]"),
        ("a/b/c", "give [TASK=]"),
        ("pawsx=", "give [TASK=]"),
        ("mlqa=train", "task 'mlqa' is not selected"),
        ("train:0", "the range holds no row"),
        ("train:9-8", "the range holds no row"),
    ],
)
def test_a_training_set_that_cannot_be_meant_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_train_from([text], TASKS)
    assert str(caught.value).startswith(f"--train-from {text}: ")
    assert told in str(caught.value)


def test_the_training_set_of_a_task_stands_beside_that_of_all() -> None:
    found = parse_train_from(["train:9", "panx=dev"], TASKS)
    assert found[""].rows == (0, 9)
    assert (found["panx"].split, found["panx"].rows) == ("dev", None)


_NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)


@given(
    task=st.none() | st.sampled_from(TASKS),
    other=st.none() | _NAMES,
    split=_NAMES,
    rows=st.none() | st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)),
)
def test_every_training_set_can_be_said(
    task: str | None, other: str | None, split: str, rows: tuple[int, int] | None
) -> None:
    text = (f"{task}=" if task else "") + (f"{other}/" if other else "") + split
    wanted = None
    if rows is not None:
        wanted = (rows[0], rows[0] + rows[1])
        text += f":{wanted[0]}-{wanted[1] - 1}"
    assert parse_train_from([text], TASKS) == {task or "": TrainFrom(task=other, split=split, rows=wanted)}


# --hyper and --head-labels


def test_hyper_parameters_are_kept_as_text_by_task() -> None:
    given_texts = [f"{name}={value}" for name, value in HYPER.items()]
    assert parse_hyper(given_texts, TASKS) == {"": HYPER}
    assert parse_hyper(["epochs=1", "panx.epochs=3"], TASKS) == {
        "": {"epochs": "1"},
        "panx": {"epochs": "3"},
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs", "--hyper epochs: give [TASK.]NAME=VALUE, e.g. panx.epochs=3"),
        ("epochs=", "give [TASK.]NAME=VALUE"),
        ("=3", "give [TASK.]NAME=VALUE"),
        ("mlqa.epochs=3", "task 'mlqa' is not selected"),
        ("rate=3", "no hyper-parameter 'rate'; there are epochs, batch_size, learning_rate, warmup"),
        ("epochs=many", "epochs=many is not allowed"),
        ("epochs=nan", "epochs=nan is not allowed (must be"),
        ("epochs=inf", "epochs=inf is not allowed"),
        ("epochs=-1", "epochs=-1 is not allowed"),
        ("batch_size=0", "batch_size=0 is not allowed (must be at least 1"),
        ("batch_size=2.5", "batch_size=2.5 is not allowed"),
        ("max_length=2", "max_length=2 is not allowed (must be at least 3"),
        ("max_steps=0", "max_steps=0 is not allowed"),
        ("clip=0", "clip=0 is not allowed"),
        ("select=best", "select=best is not allowed (only 'last' is allowed)"),
        ("epochs=none", "epochs=none is not allowed"),
    ],
)
def test_a_hyper_parameter_that_is_not_allowed_is_told_with_what_is(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_hyper([text], TASKS)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["epochs=0", "learning_rate=0", "dropout=1.5", "dropout=1"])
def test_a_hyper_parameter_with_which_nothing_can_be_learned_is_not_allowed(text: str) -> None:
    with pytest.raises(UsageError, match=f"{text} is not allowed"):
        parse_hyper([text], TASKS)


@pytest.mark.parametrize("name", ["patience", "select_limit", "dropout", "max_steps"])
def test_what_may_be_absent_can_be_said_to_be(name: str) -> None:
    assert parse_hyper([f"{name}=none"], TASKS) == {"": {name: "none"}}


def test_labels_of_a_head_are_given_in_order() -> None:
    assert parse_head_labels(["xnli=b, a,c", "pawsx=none"], TASKS) == {
        "xnli": ("b", "a", "c"),
        "pawsx": ("none",),
    }


@pytest.mark.parametrize("text", ["xnli", "mlqa=a,b", "=a,b"])
def test_labels_of_no_selected_task_are_told(text: str) -> None:
    with pytest.raises(UsageError, match="of a selected task"):
        parse_head_labels([text], TASKS)


# Planning


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What is installed."""
    return load_catalog(())


@pytest.fixture(scope="module")
def parent(sample_model: Path) -> Checkpoint:
    """The sample encoder."""
    return open_checkpoint(str(sample_model))


Plans = Callable[..., Phase]


@pytest.fixture
def plan(catalog: Catalog, parent: Checkpoint) -> Plans:
    """The phase of a task under some wishes, seed 0 and XTREME's protocol unless they say otherwise."""

    def phase(task: str, **wishes: Any) -> Phase:
        model: Checkpoint = wishes.pop("parent", parent)
        protocol, seed, length = wishes.pop("protocol", "xtreme"), wishes.pop("seed", 0), 128
        location = wishes.pop("location", DataLocation(kind="sample"))
        planner = PhasePlanner(catalog=catalog, location=location, teaching=Teaching(**wishes))
        return planner.phase(catalog.task(task), protocol, model, seed, length)

    return phase


def train_from(text: str) -> Mapping[str, TrainFrom]:
    """A parsed ``--train-from``."""
    return parse_train_from([text], TASKS)


def test_tasks_that_learn_the_same_share_one_training(plan: Plans) -> None:
    assert plan("xquad").key == plan("mlqa").key
    assert plan("xquad").learn.name == "squad_v1/train"
    assert plan("tydiqa").key != plan("xquad").key


def test_tasks_choose_their_checkpoint_as_the_protocol_says(plan: Plans) -> None:
    chosen = {task: plan(task).select for task in ("xnli", "pawsx", "panx", "udpos", "xquad")}
    assert {task: found and found.name for task, found in chosen.items()} == {
        "xnli": "xnli/dev",
        "pawsx": "pawsx/dev",
        "panx": "panx/dev",
        "udpos": "udpos/dev",
        "xquad": None,
    }
    assert all(found.language == "en" for found in chosen.values() if found is not None)
    other = plan("xnli", protocol="phang2020")
    assert other.select is not None
    assert other.select.name == "mnli/dev"
    assert plan("xquad", protocol="phang2020").select is not None


def test_a_protocol_without_hyper_parameters_takes_those_of_the_first(
    catalog: Catalog, parent: Checkpoint
) -> None:
    task = catalog.task("pawsx")
    planner = PhasePlanner(catalog=catalog, location=DataLocation(kind="sample"), teaching=Teaching())
    phase = planner.phase(task, "mine", parent, 0, 128)
    assert phase.schedule == task.training["xtreme"].schedule


@pytest.mark.parametrize(("name", "value"), HYPER.items())
def test_each_hyper_parameter_reaches_the_phase_and_makes_another_training(
    plan: Plans, name: str, value: str
) -> None:
    usual, changed = plan("pawsx"), plan("pawsx", hyper={"": {name: value}})
    assert changed.key != usual.key
    assert changed.changes == {name: value}
    if name == "select":
        assert changed.select is None
    elif name == "max_length":
        assert changed.courses[0].max_length == 64
    else:
        assert getattr(changed.schedule, name) == float(value) != getattr(usual.schedule, name)


def test_a_hyper_parameter_of_a_task_goes_before_that_of_all(plan: Plans) -> None:
    hyper = {"": {"epochs": "1", "clip": "2"}, "pawsx": {"epochs": "3"}, "panx": {"epochs": "4"}}
    schedule = plan("pawsx", hyper=hyper).schedule
    assert (schedule.epochs, schedule.clip) == (3.0, 2.0)


def test_a_value_spelled_in_another_way_is_the_same_training(plan: Plans) -> None:
    keys = {plan("panx", hyper={"": {"learning_rate": text}}).key for text in ("1e-3", "0.001", "1.0E-3")}
    assert len(keys) == 1


def test_what_decides_the_result_decides_the_key(plan: Plans, parent: Checkpoint) -> None:
    keys = [
        plan("pawsx").key,
        plan("pawsx", seed=1).key,
        plan("pawsx", dtype="bfloat16").key,
        plan("pawsx", sets=train_from("train:30")).key,
        plan("pawsx", sets=train_from("train:1-30")).key,
        plan("pawsx", sets=train_from("dev")).key,
        plan("pawsx", parent=replace(parent, weights="others")).key,
        plan("pawsx", parent=replace(parent, tokenizer="another")).key,
        plan("pawsx", protocol="phang2020").key,
    ]
    assert len(set(keys)) == len(keys)


def test_names_and_places_do_not_decide_the_key(plan: Plans, parent: Checkpoint, tmp_path: Path) -> None:
    """The same content in another layout, under another name, in a folder instead of the sample."""
    usual = plan("pawsx")
    assert plan("pawsx", parent=replace(parent, name="alias", folder=tmp_path)).key == usual.key
    for file in SAMPLES.glob("pawsx/*-en.tsv"):
        split = {"train": "train", "dev": "dev_2k", "test": "test_2k"}[file.name.split("-")[0]]
        target = tmp_path / "pawsx/x-final/en" / f"{split}.tsv"
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
        lines = ["id\tsentence1\tsentence2\tlabel"]
        lines += [f"{number}\t" + "\t".join(row) for number, row in enumerate(rows, start=1)]
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    moved = plan("pawsx", location=DataLocation.parse(str(tmp_path)))
    assert moved.learn.source == "x-final" != usual.learn.source
    assert moved.key == usual.key


def test_naming_all_rows_is_the_same_training_as_naming_none(plan: Plans) -> None:
    assert plan("pawsx", sets=train_from("train:40")).key == plan("pawsx").key


def test_the_fingerprint_is_that_of_the_examples_that_are_read_for_training(plan: Plans) -> None:
    location = DataLocation(kind="sample")
    for task, text in (("pawsx", "train:3-12"), ("panx", "train"), ("xquad", "dev:2")):
        taught = plan(task, sets=train_from(text)).learn
        examples = read_taught(taught, location)
        assert len(examples) == taught.examples
        assert sources.fingerprint(examples) == taught.data
    chosen = plan("pawsx", hyper={"": {"select_limit": "3"}}).select
    assert chosen is not None
    assert chosen.examples == 3
    assert sources.fingerprint(read_taught(chosen, location)) == chosen.data


def test_rows_are_those_that_were_asked_for(plan: Plans) -> None:
    location = DataLocation(kind="sample")
    every = read_taught(plan("pawsx").learn, location)
    some = plan("pawsx", sets=train_from("train:3-12")).learn
    assert list(read_taught(some, location)) == list(every[3:13])
    assert some.name == "pawsx/train rows 3-12"
    last = plan("pawsx", sets=train_from("train:38-39")).learn
    assert (last.rows, last.examples) == ((38, 40), 2)
    for text, told in (("train:38-40", "rows 38 to 40 of"), ("train:41", "41 examples of")):
        with pytest.raises(UsageError, match=f"{told} pawsx/train are wanted; there are only 40 examples"):
            plan("pawsx", sets=train_from(text))


def test_lengths_end_at_what_the_model_can_read(plan: Plans, catalog: Catalog, parent: Checkpoint) -> None:
    assert parent.longest == 128
    assert plan("xquad").courses[0].max_length == 128
    assert plan("xquad", hyper={"": {"max_length": "100"}}).courses[0].max_length == 100
    with pytest.raises(UsageError, match="999 is not within 3 to 128"):
        plan("xquad", hyper={"": {"max_length": "999"}})


@pytest.mark.parametrize(
    ("task", "text", "error", "told"),
    [
        ("pawsx", "nosuch", UsageError, "training task 'pawsx' has the splits test, dev, train"),
        ("xnli", "test", UsageError, "training task 'mnli' has the splits dev, dev_mismatched, train"),
        ("pawsx", "nosuch/train", UnknownNameError, "unknown task 'nosuch'"),
        ("pawsx", "xnli/dev", SpecError, "their heads differ (pooled of 2, pooled of 3)"),
        ("pawsx", "tatoeba/test", SpecError, "their heads differ (pooled of 2, none of 0)"),
        ("pawsx", "train:40-50", DataError, "pawsx/train has no row in this range"),
    ],
)
def test_a_training_set_that_is_not_to_be_had_is_told(
    plan: Plans, task: str, text: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error) as caught:
        plan(task, sets=train_from(text))
    assert told in str(caught.value)


def test_a_task_without_a_head_has_nothing_to_train(
    catalog: Catalog, parent: Checkpoint, plan: Plans
) -> None:
    planner = PhasePlanner(catalog=catalog, location=DataLocation(kind="sample"), teaching=Teaching())
    with pytest.raises(SpecError, match="its format has no head to train"):
        planner.phase(catalog.task("tatoeba"), "xtreme", parent, 0, 128)


def test_each_training_set_is_read_once_for_all_tasks_and_seeds(
    catalog: Catalog, parent: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []
    read = sources.read

    def counted(task: Any, language: str, split: str, *others: Any) -> Any:
        asked.append((task.name, language, split))
        return read(task, language, split, *others)

    monkeypatch.setattr(sources, "read", counted)
    planner = PhasePlanner(catalog=catalog, location=DataLocation(kind="sample"), teaching=Teaching())
    for name in ("xquad", "mlqa", "xnli"):
        for seed in range(3):
            planner.phase(catalog.task(name), "xtreme", parent, seed, 128)
    assert sorted(asked) == [("mnli", "en", "train"), ("squad_v1", "en", "train"), ("xnli", "en", "dev")]


# What is learned is not scored


def learned(
    catalog: Catalog, parent: Checkpoint, task: str, split: str, text: str, location: DataLocation
) -> set[str]:
    """Ids that are not to be scored in a split after training on what ``--train-from`` says."""
    planner = PhasePlanner(
        catalog=catalog, location=location, teaching=Teaching(sets=parse_train_from([text], TASKS))
    )
    spec = catalog.task(task)
    return set(planner.learned_from(planner.phase(spec, "xtreme", parent, 0, 128), spec, split).ids)


@pytest.mark.parametrize(
    ("task", "split", "text", "rows"),
    [
        ("pawsx", "test", "train", None),
        ("pawsx", "test", "dev", None),
        ("pawsx", "dev", "dev:2", slice(0, 2)),
        ("pawsx", "dev", "dev:1-3", slice(1, 4)),
        ("pawsx", "dev", "dev", slice(None)),
        ("xnli", "dev", "xnli/dev:4", slice(0, 4)),
        ("xnli", "test", "xnli/dev:4", None),
        # XQuAD's dev set is its test set.
        ("xquad", "test", "xquad/dev:3-4", slice(3, 5)),
        ("xquad", "test", "squad_v1/dev", None),
    ],
)
def test_exactly_the_learned_rows_are_left_out_of_the_split_they_are_in(
    catalog: Catalog, parent: Checkpoint, task: str, split: str, text: str, rows: slice | None
) -> None:
    location = DataLocation(kind="sample")
    scored = sources.read(catalog.task(task), "en", split, location).examples
    wanted = {example.id for example in scored[rows]} if rows is not None else set()
    assert learned(catalog, parent, task, split, text, location) == wanted


def test_what_is_learned_from_another_task_is_left_out_too_where_it_is_the_same(
    catalog: Catalog, parent: Checkpoint, tmp_path: Path
) -> None:
    """The English questions of XQuAD are part of SQuAD's dev set, under the same ids."""
    shutil.copytree(SAMPLES, tmp_path / "data")
    shutil.copy(tmp_path / "data/xquad/xquad.en.json", tmp_path / "data/squad/v1.1/dev-v1.1.json")
    location = DataLocation.parse(str(tmp_path / "data"))
    scored = sources.read(catalog.task("xquad"), "en", "test", location).examples
    found = learned(catalog, parent, "xquad", "test", "squad_v1/dev:0-3", location)
    assert found == {example.id for example in scored[:4]}


def test_equal_ids_of_other_content_are_scored(catalog: Catalog, parent: Checkpoint) -> None:
    """MultiNLI and XNLI both number their rows, and they have no row in common."""
    location = DataLocation(kind="sample")
    mnli = sources.read(catalog.task("mnli"), "en", "train", location).examples
    xnli = sources.read(catalog.task("xnli"), "en", "test", location).examples
    assert {example.id for example in mnli} & {example.id for example in xnli}
    assert learned(catalog, parent, "xnli", "test", "train", location) == set()


def test_words_in_common_make_no_copy_of_a_sentence(catalog: Catalog, tmp_path: Path) -> None:
    """XTREME's files of both tagging tasks number their sentences alike, and all have words in common."""
    for name, lines in (
        ("panx/train-en", "The\tO\nlong\tO\nNile\tB-LOC\n"),
        ("udpos/test-en", "The\tDET\nlong\tADJ\nend\tNOUN\n"),
    ):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir()
        path.write_text(lines + "\n", encoding="utf-8")
    panx, udpos = catalog.task("panx"), catalog.task("udpos")
    sets = TaughtSets(location=DataLocation.parse(str(tmp_path)))
    (one,), (other,) = (
        sets.rows(task, split, "en").examples for task, split in ((panx, "train"), (udpos, "test"))
    )
    assert one.id == other.id
    learn = Taught(task=panx, split="train", languages=("en",))
    assert learned_from(learn, udpos, "test", sets) == Learned()


def test_words_that_a_treebank_cut_otherwise_are_still_a_copy(
    catalog: Catalog, real_data: Path, tmp_path: Path
) -> None:
    """The surface tokens of English EWT and its syntactic words, under one id: each leaves the other out."""
    (tmp_path / "ud").symlink_to(real_data / "ud")
    sets = TaughtSets(location=DataLocation.parse(str(tmp_path)))
    surface, syntactic = catalog.task("udpos"), catalog.task("udpos-syntactic")
    for task, scored in ((surface, syntactic), (syntactic, surface)):
        learn = Taught(task=task, split="dev", languages=("en",))
        ids = {example.id for example in sets.examples(learn)}
        assert len(ids) > 100
        assert learned_from(learn, scored, "dev", sets) == Learned(ids=frozenset(ids))


def test_translations_of_what_was_learned_are_told_of_where_english_is_not_at_hand(
    catalog: Catalog, tmp_path: Path
) -> None:
    """Of a training set nothing is said: it is not what a protocol scores."""
    shutil.copytree(SAMPLES, tmp_path / "data")
    (tmp_path / "data/xquad/xquad.en.json").unlink()
    sets = TaughtSets(location=DataLocation.parse(str(tmp_path / "data")))
    squad, xquad = catalog.task("squad_v1"), catalog.task("xquad")
    found = {
        split: learned_from(Taught(task=squad, split=split, languages=("en",)), xquad, "test", sets)
        for split in ("train", "dev")
    }
    told = "squad_v1/dev was learned and xquad/test is not at hand in 'en': translations of it may be scored"
    assert found == {"train": Learned(), "dev": Learned(caveats=(told,))}
