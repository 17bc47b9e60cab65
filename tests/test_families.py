"""Every family of docs/encoders.md on every format: trained, written, opened again, and all scores are the same bits.

Each family is a tiny random model. A name that ends in ``+bidirectional`` is a decoder that is read in both directions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from harness_encoders.adapters import harness_encoders
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

import harness
from harness import ModelError, sources
from harness.checkpoints import (
    BIDIRECTIONAL,
    Checkpoint,
    adapted,
    asked_of,
    for_task,
    open_checkpoint,
)
from harness.engine.embed import Embedder, open_stores
from harness.engine.headed import Headed, new_headed, open_headed, save_headed, with_packer
from harness.engine.lessons import Examples
from harness.engine.load import hidden_states, load_encoder
from harness.engine.multi import open_answering, open_heads, save_heads
from harness.engine.predict import Asked, Predictor
from harness.engine.train import Trainer
from harness.formats.base import HeadFormat, Predictions, Reader
from harness.formats.retrieval import Sentence
from harness.formats.rows import Rows
from harness.heads import label_order
from harness.modelfolder import tensor_shapes
from harness.plan import Space
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.spec import Schedule

# A task of each format that has a head. The fifth format is retrieval, whose vectors are looked at layer by layer.
TASKS = {"classification": "xnli", "tagging": "udpos", "spans": "xquad", "choices": "copa"}
DECODERS = ("qwen3", "qwen3_moe", "qwen2", "llama", "mistral")
FAMILIES = (
    "bert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
    "rembert",
    "deberta-v2",
    "modernbert",
    "eurobert",
    "mt5",
    "switch_transformers",
    "nllb-moe",
    *(name for family in DECODERS for name in (family, f"{family}{BIDIRECTIONAL}")),
)
# What make test does of it; make test-full does all. Each family, each format and each way of a decoder is among it.
QUICK = {
    "bert": ("classification",),
    "xlm-roberta": ("spans",),
    "xlm-roberta-xl": ("tagging",),
    "xmod": ("choices",),
    "rembert": ("classification",),
    "deberta-v2": ("tagging",),
    "modernbert": ("classification",),
    "eurobert": ("spans",),
    "mt5": ("choices",),
    "switch_transformers": ("classification",),
    "nllb-moe": ("classification",),
    "qwen3": tuple(TASKS),
    f"qwen3_moe{BIDIRECTIONAL}": ("spans", "tagging"),
    "qwen2": ("classification",),
    f"llama{BIDIRECTIONAL}": ("choices",),
    "mistral": ("tagging",),
}
SAMPLE = DataLocation(kind="sample")
TEXTS = (
    "The dog sleeps.",
    "Der Hund schläft heute im Garten.",
    "",
    "It goes on and on and on, until it ends. " * 6,
)
SCHEDULE = Schedule(epochs=1, batch_size=4, learning_rate=1e-3, warmup=0.0, weight_decay=0.1, max_steps=3)


def _marked(family: str, name: str) -> Any:
    quick = name in QUICK.get(family, ())
    return pytest.param(family, name, marks=() if quick else pytest.mark.full)


EVERY = [_marked(family, name) for family in FAMILIES for name in TASKS]


def opened(name: str) -> Checkpoint:
    """A folder as the adapter of its family, where there is one, runs it."""
    plain = open_checkpoint(name)
    return adapted(
        plain, next((kind for kind in harness_encoders() if plain.family in kind.model_types), None)
    )


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., Checkpoint]) -> Callable[[str], Checkpoint]:
    """A model of a family, by a name of :data:`FAMILIES`."""

    def get(name: str) -> Checkpoint:
        family, _ = asked_of(name)
        return opened(str(tiny_model(family).folder) + name.removeprefix(family))

    return get


@dataclass(kw_only=True)
class Kept(Reader):
    """Keeps every score beside what the format's own reader makes of them."""

    rows: Rows
    reader: Reader
    scores: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """What lies behind a row's end is padding."""
        for row, score in zip(chosen.tolist(), scores, strict=True):
            self.scores[row] = score if score.ndim == 1 else score[: int(self.rows.lengths[row])]
        self.reader.take(chosen, scores)

    def predictions(self) -> list[Predictions]:
        """The reader's."""
        return self.reader.predictions()


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A few examples of a task in English with gold answers."""

    format: HeadFormat
    examples: list[Any]

    @classmethod
    def of(cls, task: str) -> Lesson:
        spec = load_catalog(others=False).task(task)
        split = next(
            split for split in (spec.split, *spec.splits) if sources.has_split(spec, "en", split, SAMPLE)
        )
        examples: list[Any] = list(sources.read(spec, "en", split, SAMPLE, 10).examples)
        assert isinstance(spec.format, HeadFormat)
        return cls(format=spec.format.fitted(examples), examples=examples)

    def rows(self, headed: Headed) -> Rows:
        return self.format.encode(self.examples, headed.tokenizer, 64)

    def learn(self, headed: Headed, folder: Path) -> None:
        rows = self.rows(headed)
        targets = self.format.targets(self.examples, rows)
        lesson = Examples(headed=headed, rows=rows, targets=targets, batch_size=4, epochs=1, language="en")
        trainer = Trainer(
            lessons=[lesson], schedule=SCHEDULE, seed=3, dtype="float32", folder=folder, micro_tokens=128
        )
        trainer.run()

    def answers(self, headed: Headed, budget: int = 512) -> Kept:
        rows = self.rows(headed)
        kept = Kept(rows=rows, reader=self.format.reader(self.examples, rows))
        asked = Asked(rows=rows, reader=kept, language="en")
        Predictor(headed=headed, batch_tokens=budget).run([asked])
        return kept


def trained(checkpoint: Checkpoint, lesson: Lesson, folder: Path) -> tuple[Headed, Checkpoint]:
    """A model that learned a little, and the folder that it was written to."""
    headed = new_headed(checkpoint, lesson.format.head, seed=1, device="cpu")
    before = {name: value.clone() for name, value in headed.module.named_parameters()}
    lesson.learn(headed, folder / "work")
    assert any(not torch.equal(before[name], value) for name, value in headed.module.named_parameters())
    (folder / "saved").mkdir()
    save_headed(headed, checkpoint, folder / "saved")
    # What is opened is run without padding where that is proven, so what was trained is too.
    return with_packer(headed), opened(str(folder / "saved"))


def reopened(saved: Checkpoint, lesson: Lesson) -> Headed:
    head = lesson.format.head
    order = label_order(saved.head, head.kind, head.labels)
    assert not isinstance(order, str)
    return open_headed(saved, head, order, device="cpu", dtype="float32")


def assert_same(first: Kept, second: Kept) -> None:
    assert first.scores.keys() == second.scores.keys()
    assert all(np.array_equal(first.scores[row], second.scores[row]) for row in first.scores)
    for one, other in zip(first.predictions(), second.predictions(), strict=True):
        assert list(one.values) == list(other.values)


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_what_is_trained_and_written_predicts_the_same_when_it_is_opened(
    model: Callable[[str], Checkpoint], tmp_path: Path, name: str, kind: str
) -> None:
    """Bit for bit; one row at a time all but that, for a head's own products have as many rows as the batch."""
    lesson = Lesson.of(TASKS[kind])
    headed, saved = trained(model(name), lesson, tmp_path)
    expected = lesson.answers(headed)
    assert len(expected.scores) == len(lesson.rows(headed).lengths) > 8
    again = reopened(saved, lesson)
    assert_same(lesson.answers(again), expected)
    alone = lesson.answers(again, budget=1).scores
    for row, scores in expected.scores.items():
        np.testing.assert_allclose(alone[row], scores, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if "qwen3" in name or name == "eurobert" else pytest.mark.full)
        # test_encoders.py has NLLB-MoE's, whose routing transformers has wrong.
        for name in FAMILIES
        if name != "nllb-moe"
    ],
)
def test_vectors_of_every_layer_are_plain_transformers_of_the_trained_folder(
    model: Callable[[str], Checkpoint], tmp_path: Path, name: str
) -> None:
    """Of texts in several batches against one text at a time; as retrieval reads them, in every way of pooling."""
    _, saved = trained(model(name), Lesson.of("xnli"), tmp_path)
    encoder = load_encoder(saved, device="cpu", dtype="float32")
    assert encoder.blocks is not None
    spaces = [
        Space(layer=layer, pooling=pooling, special_tokens=True, normalise=False, max_length=96)
        for layer in range(encoder.depth + 1)
        for pooling in ("mean", "cls", "last_token")
    ]
    stores = open_stores(tmp_path / "home", encoder, spaces, dtype="float32", device="cpu")
    embedder = Embedder(encoder=encoder, stores=stores, batch_tokens=128)
    embedder.embed(TEXTS, embedder.tokenise(TEXTS), language="en")
    plain = plain_model(saved)
    tokenizer: Any = AutoTokenizer.from_pretrained(str(saved.folder))
    for text in TEXTS:
        # A text without any token is read as one padding token, or id 0.
        ids = tokenizer(text, truncation=True, max_length=96)["input_ids"] or [tokenizer.pad_token_id or 0]
        states = states_of(plain, torch.tensor([ids]))
        for space in spaces:
            state = states[space.layer][0]
            expected = {"mean": state.mean(dim=0), "cls": state[0], "last_token": state[-1]}[space.pooling]
            found = stores[space].get(embedder.keys([text], "en"))[0][0]
            np.testing.assert_allclose(
                found, expected.numpy(), atol=2e-5, rtol=1e-4, err_msg=f"{space}: {text}"
            )


@pytest.mark.full
@pytest.mark.parametrize(("dtype", "limit"), [("bfloat16", 0.05), ("float16", 0.01)])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_layer_in_half_precision_is_near_that_of_float32(
    model: Callable[[str], Checkpoint], name: str, dtype: str, limit: float
) -> None:
    """Beside its largest value; near a border a token may go to another expert, so of experts one in twenty may be far."""
    ids = torch.randint(3, 3000, (8, 9), generator=torch.Generator().manual_seed(1))
    found = []
    for precision in ("float32", dtype):
        encoder = load_encoder(model(name), device="cpu", dtype=precision)
        assert encoder.dtype == getattr(torch, precision)
        reader = encoder.row_reader
        with reader.reading(np.zeros(len(ids), dtype=np.int64)) if reader else nullcontext():
            found.append(hidden_states(encoder, range(encoder.depth + 1), {"input_ids": ids}))
    few = 0.05 if "moe" in name or name == "switch_transformers" else 0.0
    for layer, exact in found[0].items():
        apart = (found[1][layer].float() - exact).abs().amax(dim=-1) / exact.abs().max()
        assert float((~(apart <= limit)).float().mean()) <= few, (layer, float(apart.max()))


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "nllb-moe"])
def test_retrieval_finds_with_a_trained_folder_what_plain_transformers_vectors_find(
    model: Callable[[str], Checkpoint], tmp_path: Path, name: str
) -> None:
    """The fifth format: a whole evaluation against a search by hand, German to English."""
    _, saved = trained(model(name), Lesson.of("xnli"), tmp_path)
    run = harness.evaluate(
        model=str(saved.folder),
        tasks="tatoeba",
        languages=["de"],
        data="sample",
        layer="last",
        device="cpu",
        output=tmp_path / "run",
    )
    assert not run.failures
    (path,) = (tmp_path / "run").glob("predictions/tatoeba/*.mean.xx-en/**/de.parquet")
    found = pq.read_table(path).to_pydict()
    plain = plain_model(saved)
    tokenizer: Any = AutoTokenizer.from_pretrained(str(saved.folder))
    pools: dict[str, dict[str, NDArray[np.float32]]] = {"en": {}, "xx": {}}
    for sentence in sources.read(load_catalog(others=False).task("tatoeba"), "de", "test", SAMPLE).examples:
        assert isinstance(sentence, Sentence)
        if saved.family == "xmod":
            plain.set_default_language("en_XX" if sentence.side == "en" else "de_DE")
        ids = tokenizer(sentence.text, truncation=True, max_length=512)["input_ids"]
        vector = states_of(plain, torch.tensor([ids]))[-1][0].mean(dim=0)
        pools[sentence.side][sentence.id] = (vector / vector.norm()).numpy()
    names, base = list(pools["en"]), np.stack(list(pools["en"].values()))
    for identity, value in zip(found["id"], found["prediction"], strict=True):
        scores = base @ pools["xx"][identity]
        # Of two that are as near but for rounding either may be the nearest.
        assert scores[names.index(json.loads(value))] >= scores.max() - 1e-5


def plain_model(saved: Checkpoint) -> Any:
    """What transformers alone opens."""
    plain: Any = AutoModel.from_pretrained(saved.folder)
    if saved.family == "xmod":
        plain.set_default_language("en_XX")
    return (plain.get_encoder() if plain.config.is_encoder_decoder else plain).eval()


def states_of(plain: Any, ids: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        output = plain(input_ids=ids, output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_reads_in_both_directions_only_where_that_is_asked_for(
    model: Callable[[str], Checkpoint], family: str
) -> None:
    """What stands behind a token changes it, with padding and without, or else never does."""
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
    other = torch.tensor([[5, 6, 7, 8, 9, 99], [11, 12, 13, 99, 15, 16]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    for name, both in ((family, False), (f"{family}{BIDIRECTIONAL}", True)):
        encoder = load_encoder(model(name), device="cpu", dtype="float32")
        for given in (None, mask):
            with torch.inference_mode():
                one, two = (
                    encoder.model(input_ids=each, attention_mask=given).last_hidden_state
                    for each in (ids, other)
                )
            assert torch.equal(one[0, :3], two[0, :3]) == (not both)
            assert torch.equal(one[1, :3], two[1, :3]) == (not both)
    assert model(family).weights != model(f"{family}{BIDIRECTIONAL}").weights


@pytest.mark.parametrize("name", ["qwen3", f"qwen3_moe{BIDIRECTIONAL}"])
def test_a_row_comes_out_the_same_in_whatever_company(model: Callable[[str], Checkpoint], name: str) -> None:
    """Experts see matrices of enough rows, whoever chooses them."""
    encoder = load_encoder(model(name), device="cpu", dtype="float32")
    ids = torch.randint(3, 3000, (200, 9), generator=torch.Generator().manual_seed(1))
    layers = range(encoder.depth + 1)
    first = hidden_states(encoder, layers, {"input_ids": ids[:8]})
    for count in (12, 30, 77, 200):
        other = hidden_states(encoder, layers, {"input_ids": ids[:count]})
        assert all(torch.equal(first[layer], other[layer][:8]) for layer in layers), count


@pytest.mark.parametrize("name", ["qwen3", f"qwen3{BIDIRECTIONAL}"])
def test_a_decoders_folder_stays_what_it_is_and_opens_in_transformers(
    model: Callable[[str], Checkpoint], tmp_path: Path, name: str
) -> None:
    """The direction is in the written configuration; a pooled head reads the last token there too."""
    lesson = Lesson.of("xnli")
    headed, saved = trained(model(name), lesson, tmp_path)
    assert saved.config.get("is_causal", True) is (BIDIRECTIONAL not in name)
    assert saved.asked == {}
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(saved.folder).eval()
    found = lesson.answers(headed).scores
    rows = lesson.rows(headed)
    for row in range(len(rows.lengths)):
        ids = torch.from_numpy(rows.ids[rows.starts[row] : rows.starts[row + 1]].astype(np.int64))[None]
        with torch.inference_mode():
            logits = plain(input_ids=ids).logits[0]
        np.testing.assert_allclose(found[row], logits.numpy(), atol=1e-5, rtol=1e-4)


def test_two_texts_are_kept_apart_where_a_decoders_tokenizer_puts_nothing(
    model: Callable[[str], Checkpoint],
) -> None:
    headed = new_headed(model("qwen3"), Lesson.of("xnli").format.head, seed=1, device="cpu")
    assert headed.tokenizer.template.single == ((), ())
    assert headed.tokenizer.template.pair == ((), (2,), ())


@pytest.mark.parametrize("padding", [None, 2])
def test_the_last_token_is_the_last_one_whatever_pads(
    model: Callable[[str], Checkpoint], padding: int | None
) -> None:
    """Also where a row ends with the token that the configuration pads with."""
    headed = new_headed(model("qwen3"), Lesson.of("xnli").format.head, seed=1, device="cpu")
    module: Any = headed.module.eval()
    module.model.config.pad_token_id = padding
    ids = torch.tensor([[5, 6, 7, 2, 0, 0], [5, 6, 7, 8, 9, 10]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    with torch.inference_mode():
        together = module(ids, mask, None)
        alone = module(ids[:1, :4], None, None)
        states = module.base(input_ids=ids[:1, :4]).last_hidden_state
        expected = module.model.score(states[:, -1])
    torch.testing.assert_close(together[:1], expected)
    torch.testing.assert_close(alone, expected)


def test_reading_in_both_directions_is_for_decoders_only(tiny_model: Callable[..., Checkpoint]) -> None:
    folder = tiny_model("bert").folder
    with pytest.raises(ModelError, match=r"\+bidirectional is for decoders .* bert is none"):
        opened(f"{folder}{BIDIRECTIONAL}")


def test_a_folder_that_says_so_itself_is_the_same_model(
    tiny_model: Callable[..., Checkpoint], model: Callable[[str], Checkpoint]
) -> None:
    """``"is_causal": false`` in config.json is what the suffix asks for."""
    said = opened(str(tiny_model("qwen3", is_causal=False).folder))
    encoder = load_encoder(said, device="cpu", dtype="float32")
    asked = load_encoder(model(f"qwen3{BIDIRECTIONAL}"), device="cpu", dtype="float32")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        one, two = (each.model(input_ids=ids).last_hidden_state for each in (encoder, asked))
    assert torch.equal(one, two)


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe"])
def test_a_decoder_that_learned_spans_can_learn_another_task(
    model: Callable[[str], Checkpoint], tmp_path: Path, family: str
) -> None:
    """transformers' class for spans gives the decoder's tensors another name; what is written has the usual one."""
    for folder in ("spans", "choices", "labels"):
        (tmp_path / folder).mkdir()
    _, spans = trained(model(family), Lesson.of("xquad"), tmp_path / "spans")
    assert spans.head is not None
    assert spans.head.kind == "span"
    headed, choices = trained(spans, Lesson.of("copa"), tmp_path / "choices")
    assert tensor_shapes(choices.folder).keys() == tensor_shapes(model(family).folder).keys()
    assert_same(
        Lesson.of("copa").answers(reopened(choices, Lesson.of("copa"))), Lesson.of("copa").answers(headed)
    )
    headed, labels = trained(choices, Lesson.of("xnli"), tmp_path / "labels")
    assert_same(
        Lesson.of("xnli").answers(reopened(labels, Lesson.of("xnli"))), Lesson.of("xnli").answers(headed)
    )


@pytest.mark.parametrize("name", ["qwen3", f"qwen3_moe{BIDIRECTIONAL}"])
def test_heads_beside_a_decoder_answer_as_they_did(
    model: Callable[[str], Checkpoint], tmp_path: Path, name: str
) -> None:
    """Three heads over one decoder, as intermediate training makes them."""
    lessons = {task: Lesson.of(task) for task in ("xnli", "xquad", "copa")}
    source = model(name)
    found = open_heads(source, [lesson.format.head for lesson in lessons.values()], seed=1, device="cpu")
    for task, lesson in lessons.items():
        lesson.learn(found.headed[lesson.format.head], tmp_path / f"work-{task}")
    save_heads(
        found, {lesson.format.head: [task] for task, lesson in lessons.items()}, source, tmp_path / "saved"
    )
    saved = opened(str(tmp_path / "saved"))
    assert saved.config.get("is_causal", True) is (BIDIRECTIONAL not in name)
    for task, lesson in lessons.items():
        headed = found.headed[lesson.format.head]
        headed.module.eval()
        order = tuple(range(len(lesson.format.head.labels)))
        again = open_answering(
            for_task(saved, task), lesson.format.head, order, device="cpu", dtype="float32"
        )
        assert_same(lesson.answers(again), lesson.answers(with_packer(headed)))
