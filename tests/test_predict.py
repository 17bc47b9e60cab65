"""Scores of rows: whatever the batches, each reader gets what a loop over single rows would give it."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from harness import ModelError
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.engine.headed import Headed, new_headed, open_headed, save_headed
from harness.engine.lessons import Examples
from harness.engine.predict import Asked, Predictor, gather
from harness.engine.train import Trainer
from harness.formats.base import Example, Head, HeadFormat, Predictions, Reader
from harness.formats.classification import Classification, TextPair
from harness.formats.rows import Rows
from harness.formats.tagging import TaggedSentence, Tagging
from harness.heads import label_order
from harness.spec import Schedule

PADDING = 9
HEADS = {
    "pooled": Head(kind="pooled", labels=("a", "b", "c")),
    "token": Head(kind="token", labels=("a", "b")),
    "span": Head(kind="span"),
}
SMALL: dict[str, Any] = {
    "vocab_size": 3400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "pad_token_id": 1,
}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
Row = tuple[Sequence[int], Sequence[int]]


class Sums(nn.Module):
    """Scores that follow from a row's own tokens, segments and mask, and would show any padding that is not masked."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        self.shapes.append(tuple(ids.shape))
        kinds = torch.zeros_like(ids) if segments is None else segments
        inside = torch.ones_like(ids) if mask is None else mask
        assert ((ids == PADDING) <= (inside == 0)).all(), "padding that is not masked"
        sums = ((ids + 0.5 * kinds) * inside).cumsum(dim=1).float()
        outputs = torch.arange(1, self.head.size + 1).float()
        return (sums[:, -1:] if self.head.kind == "pooled" else sums[:, :, None]) * outputs


class Recorder(Reader):
    """Keeps everything that it is given."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.taken: list[int] = []
        self.scores: dict[int, NDArray[np.float32]] = {}

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        assert (scores.dtype, len(scores)) == (np.dtype(np.float32), len(chosen))
        self.taken += chosen.tolist()
        for row, found in zip(chosen.tolist(), scores, strict=True):
            length = int(self.rows.lengths[row])
            assert found.ndim == 1 or len(found) >= length
            self.scores[row] = found if found.ndim == 1 else found[:length]

    def predictions(self) -> list[Predictions]:
        return []


def made_up(head: Head, *, segments: bool = True) -> Headed:
    """A model of sums with a tokenizer of which only the padding is asked."""
    tokenizer: Any = SimpleNamespace(padding=PADDING, template=SimpleNamespace(segments=segments))
    return Headed(
        module=Sums(head),
        head=head,
        tokenizer=tokenizer,
        device=torch.device("cpu"),
        dtype=torch.float32,
        name="made-up",
    )


def flat(rows: Sequence[Row]) -> Rows:
    """Rows of ids and segments."""
    return Rows(
        ids=np.array([token for ids, _ in rows for token in ids], dtype=np.int32),
        segments=np.array([kind for _, kinds in rows for kind in kinds], dtype=np.uint8),
        starts=np.concatenate([[0], np.cumsum([len(ids) for ids, _ in rows], dtype=np.int64)]).astype(
            np.int64
        ),
        owner=np.arange(len(rows), dtype=np.int64),
    )


def ask(headed: Headed, sets: Sequence[Rows], budget: int) -> tuple[list[Recorder], Predictor, int]:
    """Run and give the readers, the predictor and the number of rows that were told of."""
    readers = [Recorder(rows) for rows in sets]
    predictor = Predictor(headed=headed, batch_tokens=budget)
    told: list[int] = []
    asked = [Asked(rows=rows, reader=reader) for rows, reader in zip(sets, readers, strict=True)]
    predictor.run(asked, told.append)
    return readers, predictor, sum(told)


def one_by_one(headed: Headed, rows: Rows) -> list[NDArray[np.float32]]:
    """The same by a loop over rows, without padding, mask or batches."""
    found, told = [], headed.tokenizer.template.segments
    for begin, end in itertools.pairwise(rows.starts.tolist()):
        ids = torch.from_numpy(rows.ids[begin:end].astype(np.int64))[None]
        kinds = torch.from_numpy(rows.segments[begin:end].astype(np.int64))[None]
        with torch.inference_mode():
            found.append(headed.module(ids, None, kinds if told else None)[0].numpy())
    return found


ROW = st.tuples(st.integers(1, 90), st.integers(0, 3), st.integers(0, 90)).map(
    lambda made: ([made[1]] * made[0], [0] * min(made[0], made[2]) + [1] * max(0, made[0] - made[2]))
)


@settings(max_examples=60, deadline=None)
@given(
    sets=st.lists(st.lists(ROW, max_size=6), max_size=4),
    budget=st.integers(1, 400),
    kind=st.sampled_from(sorted(HEADS)),
)
def test_every_reader_gets_each_of_its_rows_once(sets: list[list[Row]], budget: int, kind: str) -> None:
    """With the scores of exactly that row; equal rows of whichever set are run once, and counted once."""
    headed = made_up(HEADS[kind])
    found, predictor, told = ask(headed, [flat(rows) for rows in sets], budget)
    for reader in found:
        assert sorted(reader.taken) == list(range(len(reader.rows.lengths)))
        for row, expected in enumerate(one_by_one(headed, reader.rows)):
            np.testing.assert_array_equal(reader.scores[row], expected)
    distinct = {(tuple(ids), tuple(kinds)) for rows in sets for ids, kinds in rows}
    assert told == predictor.work.sequences == len(distinct)
    assert predictor.work.tokens == sum(len(ids) for ids, _ in distinct) <= predictor.work.padded_tokens
    assert predictor.work.halved == 0


@pytest.fixture(scope="module", params=["sample", "bert"])
def folder(
    request: pytest.FixtureRequest, sample_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The built-in model, which knows no segments, and a tiny random BERT, which does."""
    if request.param == "sample":
        return sample_model
    target = tmp_path_factory.mktemp("bert")
    written("BertModel", transformers.BertConfig(**SMALL), sample_model, target)
    tokenizer, config = (json.loads((target / name).read_text()) for name in TOKENIZER)
    for piece in tokenizer["post_processor"]["pair"][-2:]:
        next(iter(piece.values()))["type_id"] = 1
    config["model_input_names"].append("token_type_ids")
    for name, value in zip(TOKENIZER, (tokenizer, config), strict=True):
        (target / name).write_text(json.dumps(value))
    return target


def written(kind: str, config: Any, tokenizer: Path, target: Path) -> Path:
    """A random model of transformers in a folder, with the built-in model's tokenizer."""
    torch.manual_seed(0)
    getattr(transformers, kind)(config).save_pretrained(target)
    for name in TOKENIZER:
        shutil.copy(tokenizer / name, target / name)
    return target


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_scores_are_those_of_a_loop_over_single_rows(folder: Path, kind: str) -> None:
    """Whatever the budget and the company; long rows are padded and masked, and predictions are the same."""
    headed = new_headed(open_checkpoint(str(folder)), HEADS[kind], seed=0, device="cpu")
    headed.module.eval()
    random = np.random.default_rng(0)
    lengths = [3, 64, 65, 70, 71, 72, 100, 5, 5, 30]
    rows = flat(
        [
            (random.integers(4, 3000, size).tolist(), [0] * (size // 2) + [1] * (size - size // 2))
            for size in lengths
        ]
    )
    expected = one_by_one(headed, rows)
    assert headed.tokenizer.template.segments == ("bert" in folder.name)
    for budget in (1, 80, 4096):
        found, predictor, _ = ask(headed, [rows], budget)
        assert predictor.work.sequences == len(lengths)
        for row, scores in enumerate(expected):
            np.testing.assert_allclose(found[0].scores[row], scores, atol=1e-5, rtol=0)
    alone, _, _ = ask(headed, [flat([(rows.ids[:3].tolist(), rows.segments[:3].tolist())])], 4096)
    np.testing.assert_allclose(alone[0].scores[0], expected[0], atol=1e-5, rtol=0)


class Scarce(Sums):
    """Runs out of memory where a batch has more tokens than fit."""

    def __init__(self, head: Head, room: int) -> None:
        super().__init__(head)
        self.room = room

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        if ids.numel() > self.room:
            raise torch.OutOfMemoryError("made up")
        return super().forward(ids, mask, segments)


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_running_out_of_memory_halves_the_batch(kind: str) -> None:
    """As often as it takes, and every row still comes once."""
    rows = flat([([number % 4] * 16, [0] * number + [1] * (16 - number)) for number in range(16)])
    headed = made_up(HEADS[kind])
    scarce = replace(headed, module=Scarce(HEADS[kind], 70))
    found, predictor, told = ask(scarce, [rows], 256)
    assert (told, predictor.work.sequences, predictor.work.batches, predictor.work.halved) == (16, 16, 4, 3)
    assert sorted(found[0].taken) == list(range(16))
    for row, expected in enumerate(one_by_one(headed, rows)):
        np.testing.assert_array_equal(found[0].scores[row], expected)


def test_one_row_that_does_not_fit_is_an_error_with_advice() -> None:
    headed = replace(made_up(HEADS["token"]), module=Scarce(HEADS["token"], 10))
    with pytest.raises(
        ModelError, match="one row of 40 tokens does not fit the memory of cpu; use a smaller --max"
    ):
        ask(headed, [flat([([1] * 40, [0] * 40)])], 4096)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_no_numbers_are_an_error(bad: float) -> None:
    """Told with the model, the example, the dtype and what to do; only who asked for them pays."""

    class Broken(Sums):
        def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
            return super().forward(ids, mask, segments).masked_fill(ids[:, :1] == 3, bad)

    headed = replace(made_up(HEADS["pooled"]), module=Broken(HEADS["pooled"]))
    bad_reader = Recorder(flat([([1, 2], [0, 0]), ([3, 2], [0, 0]), ([4, 2], [0, 0])]))
    good_reader = Recorder(flat([([4, 2], [0, 0]), ([1, 2], [0, 0])]))
    asked = [
        Asked(rows=bad_reader.rows, reader=bad_reader, ids=("a", "b", "c")),
        Asked(rows=good_reader.rows, reader=good_reader, ids=("a", "b")),
    ]
    told = "made-up: scores of example b are NaN or infinite in float32; check the weights"
    with pytest.raises(ModelError, match=f"^{told}$"):
        Predictor(headed=headed, batch_tokens=64).run(asked)
    for budget in (2, 64):
        good_reader.taken.clear()
        assert Predictor(headed=headed, batch_tokens=budget).answer(asked) == {0: told}
        assert sorted(good_reader.taken) == [0, 1]


def test_gathered_rows_are_padded_masked_and_typed() -> None:
    rows = flat([([5, 6, 7], [0, 0, 1]), ([8], [0]), ([4, 4], [0, 1])])
    headed = made_up(HEADS["token"])
    chosen = np.array([2, 0])
    ids, mask, kinds = gather(rows.ids, rows.segments, rows.starts, chosen, 4, headed, masked=True)
    found = [None if part is None else (part.dtype, part.tolist()) for part in (ids, mask, kinds)]
    expected = (
        [[4, 4, PADDING, PADDING], [5, 6, 7, PADDING]],
        [[1, 1, 0, 0], [1, 1, 1, 0]],
        [[0, 1, 0, 0], [0, 0, 1, 0]],
    )
    assert found == [(torch.int64, part) for part in expected]
    plain = made_up(HEADS["token"], segments=False)
    assert gather(rows.ids, rows.segments, rows.starts, np.array([1]), 1, plain, masked=False)[1:] == (
        None,
        None,
    )


NAMES = ("yes", "no", "maybe")
PAIRS = [
    ("The dog sleeps.", "The cat sleeps."),
    ("Der Hund schläft heute im Garten.", "Der Hund schläft."),
    ("Mbwa analala.", "The dog sleeps in the house today."),
    ("a", "b c d e f g"),
    ("We drink water.", "We drink water."),
    ("The house is big.", "A house."),
    ("Hello there, my old friend!", "Hello."),
]


def reopened(checkpoint: Checkpoint, task_format: HeadFormat) -> Headed:
    """Open a fine-tuned folder."""
    order = tuple(range(len(task_format.head.labels)))
    return open_headed(checkpoint, task_format.head, order, device="cpu", dtype="float32")


def answers(headed: Headed, task_format: HeadFormat, examples: Sequence[Example]) -> list[Any]:
    """What a format predicts."""
    rows = task_format.encode(examples, headed.tokenizer, 64)
    reader = task_format.reader(examples, rows)
    Predictor(headed=headed, batch_tokens=100).run([Asked(rows=rows, reader=reader)])
    return list(reader.predictions()[0].values)


def test_a_plain_transformers_folder_answers_as_a_hand_written_loop(
    sample_model: Path, tmp_path: Path
) -> None:
    """Though its labels stand in another order and in capitals; a big random head gives all of them."""
    named = {0: "Neutral", 1: "CONTRADICTION", 2: "entailment"}
    big: dict[str, Any] = {**SMALL, "max_position_embeddings": 130, "type_vocab_size": 1}
    config = transformers.XLMRobertaConfig(**big, initializer_range=1.0, id2label=named)
    plain = written("XLMRobertaForSequenceClassification", config, sample_model, tmp_path / "plain")
    checkpoint = open_checkpoint(str(plain))
    labels = ("contradiction", "entailment", "neutral")
    task_format = Classification(labels=labels)
    order = label_order(checkpoint.head, "pooled", labels)
    assert isinstance(order, tuple)
    assert order == (1, 2, 0)
    headed = open_headed(checkpoint, task_format.head, order, device="cpu", dtype="float32")
    examples = [
        TextPair(id=str(number), text=one, text_pair=other, label="neutral")
        for number, (one, other) in enumerate([*PAIRS, *(pair[::-1] for pair in PAIRS)])
    ]
    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint.folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(checkpoint.folder).eval()
    expected = []
    with torch.inference_mode():
        for example in examples:
            logits = model(**tokenizer(example.text, example.text_pair, return_tensors="pt")).logits
            expected.append(model.config.id2label[int(logits.argmax())].lower())
    assert set(expected) == set(labels)
    assert answers(headed, task_format, examples) == expected


def tuned(
    checkpoint: Checkpoint, task_format: HeadFormat, examples: Sequence[Example], folder: Path
) -> Checkpoint:
    """Fine-tune for a few steps and save."""
    headed = new_headed(checkpoint, task_format.head, seed=0, device="cpu", dropout=0.0)
    rows = task_format.encode(examples, headed.tokenizer, 64)
    lesson = Examples(
        headed=headed, rows=rows, targets=task_format.targets(examples, rows), batch_size=4, epochs=20
    )
    Trainer(
        lessons=[lesson],
        schedule=Schedule(epochs=20, batch_size=4, learning_rate=2e-3),
        seed=0,
        dtype="float32",
        folder=folder / "work",
        micro_tokens=512,
    ).run()
    (folder / "tuned").mkdir()
    save_headed(headed, checkpoint, folder / "tuned")
    return open_checkpoint(str(folder / "tuned"))


def test_transformers_pipeline_gives_the_same_labels_to_texts(sample_model: Path, tmp_path: Path) -> None:
    """On a folder that the harness fine-tuned, for pairs of texts."""
    task_format = Classification(labels=NAMES)
    examples = [
        TextPair(id=str(number), text=one, text_pair=other, label=NAMES[number % 3])
        for number, (one, other) in enumerate(PAIRS)
    ]
    checkpoint = tuned(open_checkpoint(str(sample_model)), task_format, examples, tmp_path)
    pipeline: Any = transformers.pipeline("text-classification", model=str(checkpoint.folder), device="cpu")
    expected = [pipeline({"text": one, "text_pair": other})["label"] for one, other in PAIRS]
    assert len(set(expected)) > 1
    assert answers(reopened(checkpoint, task_format), task_format, examples) == expected


def test_transformers_pipeline_gives_the_same_labels_to_words(sample_model: Path, tmp_path: Path) -> None:
    """That of a word is that of its first sub-word."""
    task_format = Tagging(labels=NAMES)
    sentences = [one.rstrip(".!").replace(",", "").split() for one, _ in PAIRS]
    examples = [
        TaggedSentence(id=str(at), words=tuple(words), tags=tuple(NAMES[len(word) % 3] for word in words))
        for at, words in enumerate(sentences)
    ]
    checkpoint = tuned(open_checkpoint(str(sample_model)), task_format, examples, tmp_path)
    pipeline: Any = transformers.pipeline(
        "token-classification", model=str(checkpoint.folder), device="cpu", ignore_labels=[]
    )
    expected = []
    for words in sentences:
        text, starts = (
            " ".join(words),
            [sum(len(word) + 1 for word in words[:at]) for at in range(len(words))],
        )
        by_start: dict[int, str] = {}
        for entity in pipeline(text):
            by_start.setdefault(int(entity["start"]), entity["entity"])
        expected.append([by_start[start] for start in starts])
    assert {label for labels in expected for label in labels} == set(NAMES)
    assert answers(reopened(checkpoint, task_format), task_format, examples) == expected
