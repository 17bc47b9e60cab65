"""Masked-LM lessons: the loss and gradients of transformers' own classes, tied weights, held-out loss, refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTextEncoding

from harness import ModelError, sources
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.engine.headed import Headed
from harness.engine.headmodules import OwnMasked
from harness.engine.lessons import Step, micro_loss
from harness.engine.masked import MaskedTexts, held_out_loss
from harness.engine.multi import open_heads, save_heads
from harness.engine.train import Trainer
from harness.formats.base import Head
from harness.formats.rows import IGNORED
from harness.formats.texts import TextRows, Texts
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.spec import Schedule

MASKED = Head(kind="vocabulary")
# Families whose masked-LM class is transformers' own; a variant of one has settings that change the class's way.
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "xlm-roberta": ("xlm-roberta", {}),
    "xlm-roberta-untied": ("xlm-roberta", {"tie_word_embeddings": False}),
    "xmod": ("xmod", {}),
    "rembert": ("rembert", {}),
    "deberta-v2": ("deberta-v2", {}),
    "deberta-v2-new": ("deberta-v2", {"legacy": False}),
    "modernbert": ("modernbert", {}),
    "eurobert": ("eurobert", {"mask_token_id": 4}),
}
BUDGETS = (1, 130, 10**6)
Tiny = Callable[..., Checkpoint]


def opened(checkpoint: Checkpoint, seed: int = 0, dropout: float | None = 0.0) -> Headed:
    """The masked-LM head over a checkpoint's encoder."""
    return open_heads(checkpoint, [MASKED], seed=seed, device="cpu", dropout=dropout).headed[MASKED]


@pytest.fixture(scope="module")
def texts() -> list[Any]:
    """Some built-in texts in three languages."""
    task, location = load_catalog(others=False).task("mlm"), DataLocation(kind="sample")
    return [
        text
        for language, count in (("en", 6), ("de", 4), ("sw", 2))
        for text in sources.read(task, language, "train", location).examples[:count]
    ]


def lesson_of(headed: Headed, texts: Sequence[Any], **changes: Any) -> MaskedTexts:
    """What is learned of the texts, one text a row, so that rows differ in length."""
    rows = Texts(pack=False).encode(texts, headed.tokenizer, 40)
    given: dict[str, Any] = {"batch_size": 5, "epochs": 1.0, "alpha": 0.3, "share": 0.3, **changes}
    return MaskedTexts(headed=headed, rows=rows, **given)


def inputs_of(step: Step) -> dict[str, Tensor]:
    """A step as anybody would hand it to a model class: padded, with labels."""

    def padded(values: Any, filling: int) -> Tensor:
        stretches = [slice(step.starts[row], step.starts[row + 1]) for row in step.rows]
        parts = [torch.from_numpy(values[part].astype(np.int64)) for part in stretches]
        return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=filling)

    return {
        "input_ids": padded(step.ids, 1),
        "attention_mask": padded(np.ones_like(step.ids), 0),
        "labels": padded(step.targets, IGNORED),
    }


def learned(headed: Headed, step: Step, budget: int) -> tuple[float, dict[str, Tensor]]:
    """Mean loss of a step, and the gradients, under the names that transformers' class gives to tensors."""
    model: Any = headed.module
    model.zero_grad()
    total = 0.0
    for places in step.micro(budget):
        part: Any = micro_loss(headed, step, places) / step.scored
        part.backward()
        total += float(part.detach())
    base = f"{model.model.base_model_prefix}."
    return total, {
        name.removeprefix("model.").replace("selected.encoder.", base, 1): value.grad.clone()
        for name, value in model.named_parameters()
        if value.grad is not None
    }


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_loss_and_gradients_are_those_of_transformers(tiny_model: Tiny, texts: list[Any], name: str) -> None:
    """Whatever the micro-batches, though the vocabulary is scored for hidden tokens only."""
    family, changes = PUBLISHED[name]
    checkpoint = tiny_model(family, "ForMaskedLM", **changes)
    known: Any = AutoModelForMaskedLM
    oracle = known.from_pretrained(checkpoint.folder).eval()
    if family == "xmod":
        oracle.set_default_language("en_XX")
    headed = opened(checkpoint)
    headed.module.train()
    step = lesson_of(headed, texts).draw(0, 3)
    assert len(set(step.lengths.tolist())) > 1
    loss = oracle(**inputs_of(step)).loss
    loss.backward()
    every = oracle.named_parameters(remove_duplicate=False)
    wanted = {name: value.grad for name, value in every if value.grad is not None}
    for budget in BUDGETS:
        value, grads = learned(headed, step, budget)
        assert value == pytest.approx(float(loss.detach()), abs=2e-5)
        assert len(grads) == len({id(grad) for grad in wanted.values()})
        for tensor, grad in grads.items():
            torch.testing.assert_close(grad, wanted[tensor], atol=2e-6, rtol=1e-4, msg=f"{name} {tensor}")


def tables(headed: Headed) -> tuple[Tensor, Tensor]:
    """Input and output embeddings of a masked-LM class of transformers."""
    model: Any = headed.module
    return model.selected.encoder.get_input_embeddings().weight, model.model.get_output_embeddings().weight


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "xlm-roberta-untied", "rembert", "modernbert"])
def test_weights_that_are_tied_stay_tied_and_no_others(
    tiny_model: Tiny, texts: list[Any], tmp_path: Path, name: str
) -> None:
    """While training, when written, and when opened again; a tied table is written once, with the encoder."""
    family, changes = PUBLISHED[name]
    checkpoint, tied = (
        tiny_model(family, "ForMaskedLM", **changes),
        name not in ("rembert", "xlm-roberta-untied"),
    )
    opening = open_heads(checkpoint, [MASKED], seed=0, device="cpu", dropout=0.0)
    headed = opening.headed[MASKED]
    assert opening.fresh == frozenset()
    before = tables(headed)[0].detach().clone()
    schedule = Schedule(epochs=2, batch_size=5, learning_rate=1e-3, warmup=0.0)
    trainer = Trainer(
        lessons=[lesson_of(headed, texts, epochs=2.0)],
        schedule=schedule,
        seed=1,
        dtype="float32",
        folder=tmp_path / "work",
        micro_tokens=200,
    )
    trainer.run()
    one, other = tables(headed)
    assert not torch.equal(one, before)
    assert (one is other) == tied
    (tmp_path / "saved").mkdir()
    save_heads(opening, {MASKED: ["mlm"]}, checkpoint, tmp_path / "saved")
    saved = open_checkpoint(str(tmp_path / "saved"))
    again = opened(saved)
    assert (tables(again)[0] is tables(again)[1]) == tied
    assert torch.equal(tables(again)[0], one)
    assert torch.equal(tables(again)[1], other)
    step = lesson_of(again, texts).draw(0, 3)
    headed.module.eval()
    assert learned(again, step, 10**6)[0] == learned(headed, step, 10**6)[0]


def test_an_encoder_without_a_head_gets_one_that_follows_from_the_seed(
    tiny_model: Tiny, texts: list[Any]
) -> None:
    """Its table is the input embeddings all the same."""
    checkpoint = tiny_model("xlm-roberta")
    opening = [open_heads(checkpoint, [MASKED], seed=seed, device="cpu") for seed in (4, 4, 5)]
    assert all(found.fresh == {MASKED} for found in opening)
    models: list[Any] = [found.headed[MASKED].module for found in opening]
    heads = [model.model.lm_head.dense.weight for model in models]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    known: Any = AutoModel
    table = known.from_pretrained(checkpoint.folder).get_input_embeddings().weight
    for found in opening:
        one, other = tables(found.headed[MASKED])
        assert one is other
        assert torch.equal(one, table)


def test_a_family_without_a_class_gets_the_harness_s_own_head(tiny_model: Tiny, texts: list[Any]) -> None:
    """The loss computed by hand: states of transformers' encoder, one layer, GELU, norm, the input embeddings."""
    checkpoint = tiny_model("mt5")
    opening = open_heads(checkpoint, [MASKED], seed=0, device="cpu", dropout=0.0)
    headed, own = opening.headed[MASKED], opening.headed[MASKED].module
    assert isinstance(own, OwnMasked)
    assert opening.fresh == {MASKED}
    lesson = lesson_of(headed, texts)
    step = lesson.draw(0, 3)
    value = sum(float(micro_loss(headed, step, places).detach()) for places in step.micro(90)) / step.scored
    known: Any = AutoModelForTextEncoding
    plain, given = known.from_pretrained(checkpoint.folder).eval(), inputs_of(step)
    labels = given.pop("labels")
    with torch.inference_mode():
        states = own.norm(nn.functional.gelu(own.dense(plain(**given).last_hidden_state)))
        scores = states @ plain.get_input_embeddings().weight.T + own.bias
        expected = nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    assert value == pytest.approx(float(expected), abs=2e-5)
    for places in step.micro(90):
        part: Any = micro_loss(headed, step, places)
        part.backward()
    grads = {name for name, value in own.named_parameters() if value.grad is not None and value.grad.any()}
    assert {"dense.weight", "norm.weight", "bias"} <= grads
    assert any("embed" in name or "shared" in name for name in grads)


def test_an_own_head_opens_again_with_the_same_loss(
    tiny_model: Tiny, texts: list[Any], tmp_path: Path
) -> None:
    checkpoint = tiny_model("mt5")
    opening = open_heads(checkpoint, [MASKED], seed=7, device="cpu", dropout=0.0)
    (tmp_path / "saved").mkdir()
    save_heads(opening, {MASKED: ["mlm"]}, checkpoint, tmp_path / "saved")
    saved = open_checkpoint(str(tmp_path / "saved"))
    again = open_heads(saved, [MASKED], seed=8, device="cpu", dropout=0.0)
    assert again.fresh == frozenset()
    rows = lesson_of(opening.headed[MASKED], texts).rows
    losses = [held_out_loss(found.headed[MASKED], rows, 300, 0.15) for found in (opening, again)]
    assert losses[0] == losses[1]


def test_an_encoder_whose_embeddings_have_another_size_is_refused_an_own_head(tiny_model: Tiny) -> None:
    checkpoint, known = tiny_model("rembert"), AutoModel
    whole: Any = known.from_pretrained(checkpoint.folder)
    with pytest.raises(
        ModelError, match=r"have 16 dimensions and the states 32; this family \(rembert\) cannot"
    ):
        OwnMasked(checkpoint, whole)


def test_a_tokenizer_without_a_mask_token_is_refused(tiny_model: Tiny, texts: list[Any]) -> None:
    headed = opened(tiny_model("bert", "ForMaskedLM"))
    rows = Texts(pack=False).encode(texts, headed.tokenizer, 40)
    headed.tokenizer._tokenizer.mask_token = None
    with pytest.raises(ModelError, match="has no mask token, so it cannot be trained by masked LM"):
        MaskedTexts(headed=headed, rows=rows, batch_size=2, epochs=1, alpha=0.3, share=0.15)


# What a step holds


@pytest.fixture(scope="module")
def headed(sample_model: Path) -> Headed:
    """The sample model, to guess hidden tokens."""
    return opened(open_checkpoint(str(sample_model)))


def test_a_step_follows_from_seed_and_number_alone(headed: Headed, texts: list[Any]) -> None:
    """Rows, and which of their tokens are hidden; in whatever order steps are asked for."""

    def told(step: Step) -> tuple[Any, ...]:
        return step.ids.tolist(), step.targets.tolist(), step.starts.tolist(), step.scored

    first = [told(lesson_of(headed, texts).draw(number, 3)) for number in range(6)]
    lesson = lesson_of(headed, texts)
    assert [told(lesson.draw(number, 3)) for number in reversed(range(6))] == first[::-1]
    assert len({str(value) for value in first}) == 6
    assert told(lesson.draw(0, 4)) != first[0]


def test_only_what_is_hidden_is_scored_and_the_rest_is_the_text(headed: Headed, texts: list[Any]) -> None:
    lesson = lesson_of(headed, texts, batch_size=40, alpha=1.0)
    rows: TextRows = lesson.rows
    known = {tuple(rows.ids[rows.starts[n] : rows.starts[n + 1]].tolist()) for n in range(len(rows.lengths))}
    step = lesson.draw(0, 0)
    chosen = step.targets != IGNORED
    assert step.scored == np.count_nonzero(chosen)
    assert (step.ids[chosen] == headed.tokenizer.mask).any()
    original = np.where(chosen, step.targets, step.ids)
    for start, end in zip(step.starts[:-1], step.starts[1:], strict=True):
        assert tuple(original[start:end].tolist()) in known
        assert chosen[start:end].any()


def test_alpha_lifts_languages_with_little_text(headed: Headed, texts: list[Any]) -> None:
    """Six texts in English, four in German, two in Swahili: q ** alpha by hand, within four standard errors."""
    for alpha in (0.0, 0.3, 1.0):
        lesson = lesson_of(headed, texts, batch_size=4000, alpha=alpha)
        rows = lesson.rows
        starts = {
            tuple(rows.ids[rows.starts[n] : rows.starts[n + 1]].tolist()): n for n in range(len(rows.lengths))
        }
        step = lesson.draw(0, 0)
        original = np.where(step.targets != IGNORED, step.targets, step.ids)
        found = [
            rows.languages[rows.language[starts[tuple(original[start:end].tolist())]]]
            for start, end in zip(step.starts[:-1], step.starts[1:], strict=True)
        ]
        counts = {code: int(np.count_nonzero(rows.language == n)) for n, code in enumerate(rows.languages)}
        powers = {code: (count / sum(counts.values())) ** alpha for code, count in counts.items()}
        for code, power in powers.items():
            share = power / sum(powers.values())
            assert found.count(code) / 4000 == pytest.approx(
                share, abs=4 * (share * (1 - share) / 4000) ** 0.5
            )


def test_epochs_count_rows(headed: Headed, texts: list[Any]) -> None:
    lesson = lesson_of(headed, texts, batch_size=5)
    assert (len(lesson.rows.lengths), lesson.steps_per_epoch, lesson.steps) == (12, 3, 3)
    assert replace(lesson, epochs=2.5).steps == 8


# The held-out loss


def test_the_held_out_loss_hides_the_same_tokens_each_time(headed: Headed, texts: list[Any]) -> None:
    """Whatever the batches, and it leaves the model as it was, dropout off meanwhile."""
    rows = lesson_of(headed, texts).rows
    headed.module.train()
    values = [held_out_loss(headed, rows, budget, 0.15) for budget in BUDGETS]
    assert headed.module.training
    assert values == pytest.approx([values[0]] * 3, abs=1e-4)
    headed.module.eval()
    assert held_out_loss(headed, rows, 130, 0.15) == values[1]
    assert not headed.module.training


def test_the_held_out_loss_of_a_guesser_who_knows_nothing_is_that_of_the_vocabulary(
    tiny_model: Tiny, texts: list[Any]
) -> None:
    """With all weights zero every token has the same score, so it is the logarithm of the vocabulary's size."""
    headed = opened(tiny_model("bert", "ForMaskedLM"))
    with torch.no_grad():
        for value in headed.module.parameters():
            value.zero_()
    rows = lesson_of(headed, texts).rows
    assert held_out_loss(headed, rows, 300, 0.15) == pytest.approx(np.log(3400), abs=1e-5)


def test_learning_lowers_the_held_out_loss(tiny_model: Tiny, texts: list[Any], tmp_path: Path) -> None:
    headed = opened(tiny_model("xlm-roberta", "ForMaskedLM"))
    lesson = lesson_of(headed, texts, epochs=20.0)
    before = held_out_loss(headed, lesson.rows, 300, 0.15)
    trainer = Trainer(
        lessons=[lesson],
        schedule=Schedule(epochs=20, batch_size=5, learning_rate=5e-3, warmup=0.1),
        seed=1,
        dtype="float32",
        folder=tmp_path / "work",
        micro_tokens=400,
    )
    trainer.run()
    assert held_out_loss(headed, lesson.rows, 300, 0.15) < before - 1
