"""Plans of intermediate training: what a stage becomes, what decides its key, what is watched, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness import sources, tuning
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint, for_task, open_checkpoint
from harness.curriculum import Phase
from harness.engine.masked import held_out_loss
from harness.engine.multi import open_answering, open_heads
from harness.engine.predict import Asked, Predictor
from harness.engine.session import Compute
from harness.errors import DataError, HarnessError, UnknownNameError, UsageError
from harness.formats.base import Example, Head, HeadFormat
from harness.formats.bitexts import Bitexts
from harness.formats.texts import Texts
from harness.heads import label_order
from harness.intermediate import StagePlanner
from harness.progress import Silent
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.stageoptions import StageOptions, stages_of
from harness.stages import MaskedShare, Sampler, Stage, Translated
from harness.statistics import score
from harness.taughtsets import read_taught

SAMPLE = DataLocation(kind="sample")
# Items of the built-in training sets.
SIZES = {"mnli": 60, "qqp": 36, "hellaswag": 24}
Plans = Callable[..., Phase]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What is installed."""
    return load_catalog(())


@pytest.fixture(scope="module")
def parent(sample_model: Path) -> Checkpoint:
    """The sample encoder."""
    return open_checkpoint(str(sample_model))


@pytest.fixture(scope="module")
def plan(catalog: Catalog, parent: Checkpoint) -> Plans:
    """The phase of a stage under some settings of it."""

    def phase(*tasks: str, **settings: Any) -> Phase:
        given: dict[str, Any] = {
            "location": settings.pop("location", SAMPLE),
            "seed": settings.pop("seed", 0),
            "dtype": settings.pop("dtype", "float32"),
            "protocol": settings.pop("protocol", "phang2020"),
        }
        model = settings.pop("parent", parent)
        return StagePlanner(catalog=catalog, **given).phase(Stage(tasks=tasks, **settings), model)

    return phase


def learned(phase: Phase, number: int = 0) -> Sequence[Example]:
    """The examples of a course."""
    return read_taught(phase.courses[number].learn, SAMPLE)


def ids(phase: Phase, number: int = 0) -> list[str]:
    """Their ids."""
    return [example.id for example in learned(phase, number)]


# Courses


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Sampler(), (60 / 120, 36 / 120, 24 / 120)),
        (Sampler(cap=30), (30 / 84, 30 / 84, 24 / 84)),
        (Sampler(kind="uniform"), (1 / 3, 1 / 3, 1 / 3)),
        (
            Sampler(kind="temperature", temperature=2),
            (7.745967 / 18.644946, 6 / 18.644946, 4.898979 / 18.644946),
        ),
        (Sampler(kind="fixed", shares={"mnli": 1, "qqp": 1, "hellaswag": 2}), (0.25, 0.25, 0.5)),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_weights_follow_from_sampler_and_sizes(
    plan: Plans, sampler: Sampler, expected: tuple[float, ...], share: float
) -> None:
    """Masked LM takes its share of all steps, the tasks part the rest."""
    phase = plan("mnli", "qqp", "hellaswag", sampler=sampler, masked=MaskedShare(share=share))
    assert {course.learn.task.name: course.learn.examples for course in phase.courses[:3]} == SIZES
    weights = [course.weight for course in phase.courses]
    assert weights[:3] == pytest.approx([(1 - share) * value for value in expected], abs=1e-6)
    assert weights[3:] == ([share] if share else [])
    assert sum(weights) == pytest.approx(1)
    assert [course.paced for course in phase.courses] == [True] * 3 + [False] * (len(weights) - 3)


def test_masked_tasks_part_their_share(plan: Plans) -> None:
    masked = MaskedShare(share=0.3, tasks=("mlm", "tlm"), alpha=0.7, languages=("de", "sw"))
    phase = plan("mnli", masked=masked)
    assert [course.learn.task.name for course in phase.courses] == ["mnli", "mlm", "tlm"]
    assert [course.weight for course in phase.courses] == pytest.approx([0.7, 0.15, 0.15])
    for course in phase.courses[1:]:
        assert course.learn.languages == ("de", "sw")
        assert isinstance(course.format, Texts)
        assert course.format.alpha == 0.7


def test_masked_lm_may_be_learned_as_a_task(plan: Plans) -> None:
    """It then says how long the phase is, in whatever languages there are; but not twice in one phase."""
    (course,) = plan("mlm").courses
    assert (course.paced, course.weight, course.select) == (True, 1.0, None)
    assert course.learn.languages == ("ar", "de", "en", "es", "sw", "zh")
    with pytest.raises(UsageError, match="task 'mlm' is learned and mixed in"):
        plan("mlm", masked=MaskedShare(share=0.2))


def test_settings_of_a_format_change_what_is_learned_and_not_how_it_is_measured(plan: Plans) -> None:
    usual = plan("translation_ranking", masked=MaskedShare(share=0.2))
    changes = {"translation_ranking": {"group": "8", "alpha": "1"}, "mlm": {"share": "0.3"}}
    phase = plan("translation_ranking", masked=MaskedShare(share=0.2, alpha=0.7), settings=changes)
    pairs, texts = (course.format for course in phase.courses)
    assert pairs == Bitexts(group=8, alpha=1.0)
    assert texts == Texts(share=0.3, alpha=0.7)
    assert [taught.task.format for taught in phase.watched] == [Bitexts(), Texts()]
    assert phase.key != usual.key
    assert phase.changes == {
        "mlm.share": "0.3",
        "translation_ranking.alpha": "1",
        "translation_ranking.group": "8",
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"mlm": {"share": "0.3"}},
            "settings are given for task 'mlm', which is not learned here (tlm, mnli)",
        ),
        ({"tlm": {"share": "2"}}, "settings of task 'tlm': share=2: must be a number above 0 and at most 1"),
        (
            {"tlm": {"nothing": "2"}},
            "settings of task 'tlm': no setting 'nothing' here; there are pack, share, alpha",
        ),
        (
            {"mnli": {"nothing": "2"}},
            (
                "settings of task 'mnli': what is scored is learned as it is scored; while training, only tasks of texts in "
                "many languages have settings (mlm, tlm and their like)"
            ),
        ),
    ],
)
def test_settings_that_cannot_be(plan: Plans, changes: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan("tlm", "mnli", settings=changes)
    assert str(caught.value) == told


def test_hyper_parameters_of_an_intermediate_phase_are_told_to_be_ours(plan: Plans) -> None:
    phase = plan("mnli", "squad_v2", masked=MaskedShare(share=0.1))
    assert {"epochs", "batch_size", "learning_rate"} <= set(phase.schedule.ours)
    assert all({"epochs", "batch_size"} <= set(course.ours) for course in phase.courses)
    assert [course.batch_size for course in phase.courses] == [32, 16, 32]
    assert (phase.schedule.learning_rate, phase.schedule.warmup) == (1e-5, 0.1)


# Parts of a training set


@pytest.mark.parametrize("size", ["10%", "0.1", "6"])
def test_a_size_is_a_share_or_a_number(plan: Plans, size: str) -> None:
    phase = plan("mnli", sizes={"": size})
    assert phase.learn.examples == 6
    assert phase.learn.name == f"mnli/train {size}"
    assert phase.learn.data == sources.fingerprint(learned(phase))


def test_smaller_parts_lie_in_larger_ones(plan: Plans) -> None:
    """Of one seed; another seed has other parts. All of it is the set itself."""
    parts = [ids(plan("mnli", sizes={"mnli": size})) for size in ("1%", "3%", "10%", "30%", "100%")]
    assert [len(part) for part in parts] == [1, 2, 6, 18, 60]
    for small, large in pairwise(parts):
        assert set(small) < set(large)
    assert set(ids(plan("mnli", sizes={"": "30%"}, seed=1))) != set(parts[3])
    assert plan("mnli", sizes={"": "100%"}).key == plan("mnli").key


def test_sizes_are_given_by_task_and_change_what_is_drawn(plan: Plans) -> None:
    phase = plan("mnli", "qqp", sizes={"": "50%", "qqp": "10"}, masked=MaskedShare(share=0.5))
    assert [course.learn.examples for course in phase.courses] == [30, 10, plan("mlm").learn.examples]
    assert [course.weight for course in phase.courses] == pytest.approx([0.375, 0.125, 0.5])


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_translated_examples_stand_in_the_place_of_english_ones(plan: Plans, share: float) -> None:
    """The same ids in the same order, and the share realised within what chance allows."""
    english = plan("mnli")
    phase = plan("mnli", translated={"mnli": Translated(languages=("de", "es"), share=share)})
    assert ids(phase) == ids(english)
    changed = sum(one != other for one, other in zip(learned(phase), learned(english), strict=True))
    assert changed == 60 if share == 1 else 15 <= changed <= 45
    assert phase.learn.name == f"mnli/train +{share:g} de,es"
    assert phase.learn.data == sources.fingerprint(learned(phase)) != english.learn.data


def test_translations_of_every_task_are_not_those_of_masked_lm(plan: Plans) -> None:
    """Nor are sizes and training sets: what is mixed in is told by name."""
    phase = plan(
        "mnli",
        translated={"": Translated(languages=("de",))},
        sizes={"": "10"},
        train_from={"": "train:20"},
        masked=MaskedShare(share=0.2),
    )
    assert phase.courses[1].learn == plan("qqp", masked=MaskedShare(share=0.2)).courses[1].learn
    assert phase.learn.examples == 10


def test_a_part_is_chosen_before_it_is_translated(plan: Plans) -> None:
    """So a part in translation holds the same examples as the part in English."""
    phase = plan("mnli", sizes={"": "12"}, translated={"": Translated(languages=("de",), share=1.0)})
    assert ids(phase) == ids(plan("mnli", sizes={"": "12"}))


def test_another_training_set_can_be_taken(plan: Plans) -> None:
    phase = plan("mnli", "qqp", train_from={"mnli": "dev:3-6", "": "train:10"})
    assert [course.learn.name for course in phase.courses] == ["mnli/dev rows 3-6", "qqp/train rows 0-9"]
    every = sources.read(phase.learn.task, "en", "dev", SAMPLE).examples
    assert learned(phase) == every[3:7]
    # What is learned does not choose its own checkpoint.
    assert phase.courses[0].select is None
    assert phase.courses[1].select is not None


def test_hyper_parameters_are_given_by_task(plan: Plans) -> None:
    hyper = {
        "": {"epochs": "2", "learning_rate": "1e-4"},
        "qqp": {"epochs": "5", "batch_size": "7", "max_length": "50"},
    }
    phase = plan("mnli", "qqp", hyper=hyper)
    assert [(c.epochs, c.batch_size, c.max_length) for c in phase.courses] == [(2, 32, 128), (5, 7, 50)]
    assert phase.schedule.learning_rate == 1e-4
    assert phase.changes == {
        "epochs": "2",
        "learning_rate": "1e-4",
        "qqp.epochs": "5",
        "qqp.batch_size": "7",
        "qqp.max_length": "50",
    }
    own = plan("mnli", hyper={"": {"learning_rate": "1e-4"}, "mnli": {"learning_rate": "1e-3"}})
    assert own.schedule.learning_rate == 1e-3


# Keys


def test_what_decides_the_result_decides_the_key(plan: Plans, parent: Checkpoint) -> None:
    mixed: Mapping[str, Any] = {"masked": MaskedShare(share=0.2)}
    keys = [
        plan("mnli").key,
        plan("qqp", "mnli").key,
        plan("mnli", "qqp").key,
        plan("mnli", seed=1).key,
        plan("mnli", dtype="bfloat16").key,
        plan("mnli", sizes={"": "10%"}).key,
        plan("mnli", translated={"": Translated(languages=("de",))}).key,
        plan("mnli", translated={"": Translated(languages=("de",), share=0.6)}).key,
        plan("mnli", train_from={"": "dev"}).key,
        plan("mnli", hyper={"": {"clip": "2"}}).key,
        plan("mnli", "qqp", sampler=Sampler(kind="uniform")).key,
        plan("mnli", **mixed).key,
        plan("mnli", masked=MaskedShare(share=0.3)).key,
        plan("mnli", masked=MaskedShare(share=0.2, alpha=0.7)).key,
        plan("mnli", masked=MaskedShare(share=0.2, languages=("de",))).key,
        plan("mnli", parent=replace(parent, weights="others")).key,
    ]
    assert len(set(keys)) == len(keys)
    assert plan("mnli", **mixed).key == plan("mnli", masked=MaskedShare(share=0.2, tasks=("mlm",))).key
    assert plan("mnli", parent=replace(parent, name="alias", folder=Path("elsewhere"))).key == keys[0]


# What cannot be meant


@pytest.mark.parametrize(
    ("tasks", "settings", "error", "told"),
    [
        (("nosuch",), {}, UnknownNameError, "unknown task 'nosuch'"),
        (("tatoeba",), {}, HarnessError, "'tatoeba'"),
        (("xnli",), {}, UsageError, "task 'xnli' learns from 'mnli'; name that one"),
        (("mnli",), {"sizes": {"qqp": "10"}}, UsageError, "sizes are given for task 'qqp', which is not learned here (mnli)"),
        (("mnli",), {"hyper": {"mlm": {"epochs": "1"}}}, UsageError, "hyper are given for task 'mlm'"),
        (("mnli",), {"translated": {"qqp": Translated(languages=("de",))}}, UsageError, "translated are given for task 'qqp'"),
        (("mnli",), {"train_from": {"qqp": "dev"}}, UsageError, "train from are given for task 'qqp'"),
        (("mnli",), {"sizes": {"": "61"}}, UsageError, "task 'mnli': training size '61': there are only 60 examples"),
        (("mnli",), {"sizes": {"": "101%"}}, UsageError, "is more than the whole training set"),
        (("mnli",), {"sizes": {"": "many"}}, UsageError, "training size 'many' is not understood"),
        (("mnli",), {"translated": {"": Translated(languages=("de", "sw"))}}, DataError, "translation of mnli/train into 'sw'"),
        (("mnli",), {"train_from": {"": "test"}}, UsageError, "has the splits dev, dev_mismatched, train"),
        (("mnli",), {"train_from": {"": "qqp/train"}}, UsageError, "task 'mnli' learns its own examples"),
        (("mnli",), {"train_from": {"": "train:70-80"}}, DataError, "mnli/train has no row in this range"),
        (("mnli",), {"hyper": {"": {"max_length": "999"}}}, UsageError, "999 is not within 3 to 128"),
        (("mnli", "qqp"), {"hyper": {"qqp": {"learning_rate": "1"}}}, UsageError, "give learning_rate without a task"),
        (("mnli",), {"masked": MaskedShare(share=0.1, languages=("de", "fr"))}, DataError, "mlm/train: no text for fr"),
        (("mnli",), {"masked": MaskedShare(share=0.1, tasks=("nosuch",))}, UnknownNameError, "unknown task 'nosuch'"),
        (("mnli",), {"masked": MaskedShare(share=0.1, tasks=("qqp",))}, UsageError, "task 'qqp' is no masked-LM task"),
        (("mnli", "qqp"), {"sampler": Sampler(kind="fixed", shares={"mnli": 1})}, UsageError, "the tasks are mnli, qqp"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_told(
    plan: Plans, tasks: tuple[str, ...], settings: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error) as caught:
        plan(*tasks, **settings)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_twice_at_once_is_refused() -> None:
    with pytest.raises(UsageError, match="one is named twice"):
        Stage(tasks=("mnli", "qqp", "mnli"))
    assert len(stages_of(StageOptions(tasks=["mnli,qqp,mnli"], schedule="sequential"))) == 3


# What is watched


FAST = {
    "": {
        "batch_size": "8",
        "learning_rate": "1e-3",
        "max_steps": "4",
        "max_length": "60",
        "select_limit": "5",
    }
}


@pytest.fixture(scope="module")
def sequence(catalog: Catalog, plan: Plans, tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    """MNLI with masked LM, then SQuAD, then COPA."""
    home = tmp_path_factory.mktemp("sequence")
    compute = Compute(device="cpu", dtype="float32", given_tokens=None, home=home)
    found: list[Checkpoint] = []
    for task, share in (("mnli", 0.4), ("squad_v1", 0.0), ("copa", 0.0)):
        more = {"parent": found[-1]} if found else {}
        phase = plan(task, masked=MaskedShare(share=share), hyper=FAST, **more)
        found.append(tuning.obtain(phase, catalog, SAMPLE, compute, Silent()).checkpoint)
    return found


def dev(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """The development scores of the last phase, by task."""
    told = json.loads((checkpoint.folder / "training.json").read_text(encoding="utf-8"))
    return {entry["task"]: entry for entry in told["dev"]}


def test_earlier_tasks_are_scored_after_each_phase(sequence: list[Checkpoint]) -> None:
    """The rows of a forgetting matrix."""
    assert [set(dev(checkpoint)) for checkpoint in sequence] == [
        {"mnli", "mlm"},
        {"mnli", "mlm", "squad_v1"},
        {"mnli", "mlm", "squad_v1", "copa"},
    ]
    for name in ("split", "languages", "limit", "n", "metric"):
        for task in ("mnli", "mlm"):
            assert len({str(dev(checkpoint)[task][name]) for checkpoint in sequence}) == 1, (task, name)
    assert dev(sequence[0])["mnli"]["n"] == 5
    assert not dev(sequence[0])["mlm"]["higher_is_better"]
    losses = [dev(checkpoint)["mlm"]["value"] for checkpoint in sequence]
    assert len(set(losses)) == 3
    assert [len(checkpoint.lineage) for checkpoint in sequence] == [1, 2, 3]


@pytest.mark.parametrize("task", ["mnli", "squad_v1", "copa"])
def test_the_scores_are_those_of_an_evaluation_of_the_folder(
    catalog: Catalog, sequence: list[Checkpoint], task: str
) -> None:
    """Heads are opened from the written folder and asked as ``harness eval`` asks them."""
    spec, checkpoint = catalog.task(task), for_task(sequence[-1], task)
    entry, form = dev(sequence[-1])[task], catalog.task(task).format
    assert isinstance(form, HeadFormat)
    order = label_order(checkpoint.head, form.head.kind, form.head.labels)
    assert isinstance(order, tuple)
    headed = open_answering(checkpoint, form.head, order, device="cpu", dtype="float32")
    every = sources.read(spec, "en", entry["split"], SAMPLE).examples
    examples = form.subset(every, entry["limit"])
    rows = form.encode(examples, headed.tokenizer, 60)
    reader = form.reader(examples, rows)
    Predictor(headed=headed, batch_tokens=4096).run([Asked(rows=rows, reader=reader)])
    (found,) = [part for part in reader.predictions() if part.view == spec.main.view]
    assert score(catalog.metric(spec.main.metric), found.gold, found.values).value == entry["value"]
    assert len(examples) == entry["n"] == 5


def test_the_masked_loss_is_that_of_the_folder(catalog: Catalog, sequence: list[Checkpoint]) -> None:
    """After a phase that had no masked LM too."""
    head, task = Head(kind="vocabulary"), catalog.task("mlm")
    opening = open_heads(sequence[-1], [head], seed=5, device="cpu")
    assert opening.fresh == frozenset()
    entry, form = dev(sequence[-1])["mlm"], task.format
    assert isinstance(form, Texts)
    texts: list[Any] = [
        text for code in entry["languages"] for text in sources.read(task, code, "dev", SAMPLE).examples
    ]
    headed = opening.headed[head]
    loss = held_out_loss(headed, form.encode(texts, headed.tokenizer, 60), 2048, form.share)
    assert loss == pytest.approx(entry["value"], abs=1e-4)
    assert entry["n"] == len(form.encode(texts, headed.tokenizer, 60).lengths)


def test_a_development_set_that_is_gone_is_not_watched(
    plan: Plans, sequence: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phase itself does not need it."""
    read = sources.read

    def without(task: Any, language: str, split: str, *others: Any) -> Any:
        if task.name == "mnli":
            raise DataError("gone")
        return read(task, language, split, *others)

    whole = plan("qqp", parent=sequence[-1], hyper=FAST)
    assert [taught.task.name for taught in whole.watched] == ["mnli", "mlm", "squad_v1", "copa", "qqp"]
    monkeypatch.setattr(sources, "read", without)
    phase = plan("qqp", parent=sequence[-1], hyper=FAST)
    assert [taught.task.name for taught in phase.watched] == ["mlm", "squad_v1", "copa", "qqp"]
    assert phase.key == whole.key


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"train_size": ["mnli=10", "mnli=20"]}, "--train-size is given twice for task 'mnli'"),
        ({"train_size": ["10", "20"]}, "--train-size is given twice for every task"),
        ({"translated": ["de", "fr:0.2"]}, "--translated is given twice for every task"),
        ({"train_from": ["train:5", "train"]}, "--train-from is given twice for every task"),
        ({"shares": ["qqp=1", "qqp=2"]}, "--share is given twice for task 'qqp'"),
    ],
)
def test_an_option_that_says_two_things_of_a_task_is_refused(
    options: dict[str, list[str]], told: str
) -> None:
    """The first of them must not be dropped without a word."""
    with pytest.raises(UsageError, match=re.escape(told)):
        stages_of(StageOptions(tasks=["mnli,qqp"], **options))  # type: ignore[arg-type]


def test_what_is_said_of_one_task_stands_beside_what_is_said_of_every_one() -> None:
    (stage,) = stages_of(StageOptions(tasks=["mnli,qqp"], train_size=["10", "mnli=20"]))
    assert stage.sizes == {"": "10", "mnli": "20"}
