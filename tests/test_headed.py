"""Heads on encoders: what is written opens in transformers and answers the same, and nothing random is ever scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from harness import ModelError
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.engine.headed import Headed, check_head, new_headed, open_headed, save_headed
from harness.engine.headmodules import loss
from harness.formats.base import Head
from harness.heads import OWN_HEAD, OWN_HEAD_WEIGHTS, label_order

LABELS = ("yes", "no", "maybe")
HEADS = {
    "pooled": Head(kind="pooled", labels=LABELS),
    "token": Head(kind="token", labels=LABELS),
    "span": Head(kind="span"),
}
CLASSES: dict[str, Any] = {
    "pooled": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
    "span": AutoModelForQuestionAnswering,
}
SMALL: dict[str, Any] = {
    "vocab_size": 3400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "pad_token_id": 1,
}
ROBERTA: dict[str, Any] = {**SMALL, "max_position_embeddings": 130, "type_vocab_size": 1}
MARKS: dict[str, Any] = {"cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
T5: dict[str, Any] = {"vocab_size": 3400, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", SMALL),
    "xlm-roberta": ("XLMRoberta", ROBERTA),
    "xmod": ("Xmod", {**ROBERTA, "languages": ["de_DE", "en_XX"]}),
    "rembert": ("RemBert", {**SMALL, "input_embedding_size": 16}),
    "deberta-v2": (
        "DebertaV2",
        {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "modernbert": ("ModernBert", {**SMALL, **MARKS}),
    "mt5": ("MT5", {**T5, "num_layers": 2, "pad_token_id": 1}),
    "eurobert": ("EuroBert", {**SMALL, **MARKS, "num_key_value_heads": 4}),
}
# Where transformers has no class for the head over the encoder alone.
OWN = [("mt5", "pooled"), ("mt5", "token"), ("mt5", "span"), ("eurobert", "span")]
EVERY = [(family, kind) for family in FAMILIES for kind in HEADS]
IDS = torch.tensor([[0, 5, 6, 7, 2, 2, 8, 9, 2], [0, 15, 16, 2, 2, 17, 2, 1, 1]])
MASK = (IDS != 1).long()


def make(family: str, tokenizer: Path, target: Path, kind: str = "Model", **changes: Any) -> Checkpoint:
    """Write a tiny random model of a family, with a head or without."""
    stem, settings = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{stem}Config")(**settings, **changes)
        getattr(transformers, f"{stem}{kind}")(config).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, target / name)
    return open_checkpoint(str(target))


@pytest.fixture(scope="module")
def encoder(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkpoint]:
    """An encoder of a family, made once."""
    made: dict[str, Checkpoint] = {}

    def get(family: str) -> Checkpoint:
        if family not in made:
            made[family] = make(family, sample_model, tmp_path_factory.mktemp(family))
        return made[family]

    return get


def scores_of(headed: Headed, *, mask: bool = True) -> Tensor:
    """Scores of two rows, one of them padded."""
    segments = (torch.arange(9)[None] > 4).long() * MASK if headed.tokenizer.template.segments else None
    with torch.inference_mode():
        scores: Tensor = headed.module(IDS, MASK if mask else None, segments)
    return scores


def saved(headed: Headed, source: Checkpoint, folder: Path) -> Checkpoint:
    """Save and open the folder as a checkpoint."""
    folder.mkdir()
    save_headed(headed, source, folder)
    return open_checkpoint(str(folder))


def reopened(checkpoint: Checkpoint, head: Head, dtype: str = "float32") -> Headed:
    """Open a head with its labels in order."""
    order = tuple(range(len(head.labels)))
    return open_headed(checkpoint, head, order, device="cpu", dtype=dtype)


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_a_saved_model_gives_the_same_scores_everywhere(
    encoder: Callable[[str], Checkpoint], tmp_path: Path, family: str, kind: str
) -> None:
    """Opened by the harness, and by transformers' own class where there is one."""
    source, head = encoder(family), HEADS[kind]
    headed = new_headed(source, head, seed=1, device="cpu")
    headed.module.eval()
    scores = scores_of(headed)
    assert scores.shape == ((2, 3) if kind == "pooled" else (2, 9, head.size))
    assert {value.dtype for value in headed.module.parameters()} == {torch.float32}
    checkpoint = saved(headed, source, tmp_path / "saved")
    carried = checkpoint.head
    assert carried is not None
    assert (carried.kind, carried.labels) == (kind, head.labels)
    assert label_order(carried, kind, head.labels) == tuple(range(len(head.labels)))
    check_head(checkpoint, head)
    assert torch.equal(scores_of(reopened(checkpoint, head)), scores)
    assert carried.own == ((family, kind) in OWN)
    if carried.own:
        assert {OWN_HEAD, OWN_HEAD_WEIGHTS} <= {path.name for path in checkpoint.folder.iterdir()}
        return
    model, told = CLASSES[kind].from_pretrained(checkpoint.folder, output_loading_info=True)
    assert not any(told[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    if headed.tokenizer.template.segments:
        inputs["token_type_ids"] = (torch.arange(9)[None] > 4).long() * MASK
    with torch.inference_mode():
        plain = model.eval()(**inputs)
    logits = torch.stack([plain.start_logits, plain.end_logits], -1) if kind == "span" else plain.logits
    assert torch.equal(logits, scores)
    if kind != "span":
        assert [model.config.id2label[number] for number in range(3)] == list(LABELS)
    assert len(AutoTokenizer.from_pretrained(checkpoint.folder)) == len(
        AutoTokenizer.from_pretrained(source.folder)
    )


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_without_dropout_training_has_no_chance_in_it(
    encoder: Callable[[str], Checkpoint], family: str, kind: str
) -> None:
    """However a family names its dropouts, all of them are set, those of the head too."""
    headed = new_headed(encoder(family), HEADS[kind], seed=1, device="cpu", dropout=0.0)
    headed.module.train()
    assert torch.equal(scores_of(headed), scores_of(headed))
    changed = new_headed(encoder(family), HEADS[kind], seed=1, device="cpu", dropout=0.5)
    changed.module.train()
    assert not torch.equal(scores_of(changed), scores_of(changed))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_encoder_is_moved_whole_under_another_head(
    encoder: Callable[[str], Checkpoint], sample_model: Path, tmp_path: Path, family: str
) -> None:
    """From a folder with a head for sequences to one for tokens; the hidden states stay, and are those of AutoModel."""
    source = encoder(family)
    first = new_headed(source, HEADS["pooled"], seed=1, device="cpu")
    folder = saved(first, source, tmp_path / "pooled")
    second = new_headed(folder, HEADS["token"], seed=2, device="cpu")
    known: Any = AutoModelForTextEncoding if family == "mt5" else AutoModel
    plain = known.from_pretrained(source.folder).eval()
    if family == "xmod":
        plain.set_default_language("en_XX")
    found: list[Tensor] = []
    inner: Any = second.module.eval()
    base = inner.encoder if hasattr(inner, "encoder") else getattr(inner.model, inner.model.base_model_prefix)
    base.register_forward_hook(lambda module, inputs, output: found.append(output.last_hidden_state))
    scores_of(second)
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    if second.tokenizer.template.segments:
        inputs["token_type_ids"] = (torch.arange(9)[None] > 4).long() * MASK
    with torch.inference_mode():
        expected = plain(**inputs).last_hidden_state
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_checkpoint_in_half_precision_is_trained_in_float32(
    sample_model: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    """And what is saved opens in float32."""
    source = make("bert", sample_model, tmp_path / "half")
    AutoModel.from_pretrained(source.folder, dtype=dtype).save_pretrained(source.folder)
    source = open_checkpoint(str(source.folder))
    assert source.config["dtype"] == str(dtype).removeprefix("torch.")
    headed = new_headed(source, HEADS["token"], seed=1, device="cpu")
    assert {value.dtype for value in headed.module.parameters()} == {torch.float32} == {headed.dtype}
    checkpoint = saved(headed, source, tmp_path / "saved")
    assert checkpoint.config["dtype"] == "float32"


def test_the_head_follows_from_the_seed_alone(sample_model: Path, tmp_path: Path) -> None:
    """Even where the checkpoint has no pooler, and torch's own generator goes on as if nothing had been."""
    checkpoints = [
        open_checkpoint(str(sample_model)),
        make("bert", sample_model, tmp_path / "mlm", "ForMaskedLM"),
    ]
    for checkpoint in checkpoints:
        for kind, head in HEADS.items():
            before = torch.get_rng_state()
            first = new_headed(checkpoint, head, seed=3, device="cpu")
            assert torch.equal(torch.get_rng_state(), before), f"{checkpoint.family} {kind}"
            torch.rand(7)
            again = new_headed(checkpoint, head, seed=3, device="cpu")
            other = new_headed(checkpoint, head, seed=4, device="cpu")
            states = [headed.module.state_dict() for headed in (first, again, other)]
            differ = [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
            assert differ == [], f"{checkpoint.family} {kind}"
            assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_labels_in_another_order_are_put_right(encoder: Callable[[str], Checkpoint], tmp_path: Path) -> None:
    """For a head of transformers and for the harness's own, for sequences and for tokens."""
    turned = tuple(reversed(LABELS))
    for family, kind in (("bert", "pooled"), ("bert", "token"), ("mt5", "pooled"), ("mt5", "token")):
        head = Head(kind=HEADS[kind].kind, labels=LABELS)
        wanted = Head(kind=head.kind, labels=turned)
        headed = new_headed(encoder(family), head, seed=1, device="cpu")
        headed.module.eval()
        checkpoint = saved(headed, encoder(family), tmp_path / f"{family}-{kind}")
        order = label_order(checkpoint.head, kind, turned)
        assert isinstance(order, tuple)
        other = open_headed(checkpoint, wanted, order, device="cpu", dtype="float32")
        assert torch.equal(scores_of(other), scores_of(headed).flip(-1))


def test_a_head_can_run_in_bfloat16(encoder: Callable[[str], Checkpoint], tmp_path: Path) -> None:
    """Its scores are float32 and close to those of float32."""
    for family in ("bert", "mt5"):
        headed = new_headed(encoder(family), HEADS["pooled"], seed=1, device="cpu")
        headed.module.eval()
        half = reopened(saved(headed, encoder(family), tmp_path / family), HEADS["pooled"], "bfloat16")
        assert {value.dtype for value in half.module.parameters()} == {torch.bfloat16} == {half.dtype}
        assert scores_of(half).dtype == torch.float32
        assert torch.allclose(scores_of(half), scores_of(headed), atol=0.05)


def without(checkpoint: Checkpoint, file: str, drop: Callable[[str], bool]) -> list[str]:
    """Take tensors out of a file; their names."""
    path = checkpoint.folder / file
    state = load_file(path)
    gone = [name for name in state if drop(name)]
    save_file({name: value for name, value in state.items() if name not in gone}, path, {"format": "pt"})
    assert gone
    return gone


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_missing_tensors_of_a_head_are_named_and_nothing_is_scored(
    encoder: Callable[[str], Checkpoint], tmp_path: Path, kind: str
) -> None:
    """Before the model is opened, and when it is."""
    headed = new_headed(encoder("xlm-roberta"), HEADS[kind], seed=1, device="cpu")
    checkpoint = saved(headed, encoder("xlm-roberta"), tmp_path / "saved")
    gone = without(checkpoint, "model.safetensors", lambda name: not name.startswith("roberta."))
    for refuse in (lambda: check_head(checkpoint, HEADS[kind]), lambda: reopened(checkpoint, HEADS[kind])):
        with pytest.raises(ModelError) as caught:
            refuse()
        assert str(checkpoint.folder) in str(caught.value)
        assert f"{len(gone)} tensors" in str(caught.value)
        assert all(name in str(caught.value) for name in gone)
        assert "random" in str(caught.value)


def test_a_head_with_another_number_of_labels_than_its_configuration_is_refused(
    encoder: Callable[[str], Checkpoint], tmp_path: Path
) -> None:
    two = Head(kind="pooled", labels=("yes", "no"))
    checkpoint = saved(
        new_headed(encoder("bert"), two, seed=1, device="cpu"), encoder("bert"), tmp_path / "saved"
    )
    path = checkpoint.folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["id2label"] = dict(enumerate(LABELS))
    config["label2id"] = {label: number for number, label in enumerate(LABELS)}
    path.write_text(json.dumps(config), encoding="utf-8")
    checkpoint = open_checkpoint(str(checkpoint.folder))
    with pytest.raises(
        ModelError, match=r"2 tensors of its pooled head are missing or of another shape .*classifier"
    ):
        check_head(checkpoint, HEADS["pooled"])
    with pytest.raises(ModelError, match=r"2 tensors of the model and its head .*classifier\.bias"):
        reopened(checkpoint, HEADS["pooled"])


def test_missing_tensors_of_an_encoder_are_named(
    encoder: Callable[[str], Checkpoint], tmp_path: Path
) -> None:
    """Whether a head is there or is to be trained; a pooler counts only where a carried head reads it."""
    headed = new_headed(encoder("bert"), HEADS["pooled"], seed=1, device="cpu")
    checkpoint = saved(headed, encoder("bert"), tmp_path / "saved")
    gone = without(checkpoint, "model.safetensors", lambda name: "pooler" in name)
    with pytest.raises(ModelError, match=rf"2 tensors of the model and its head .*{gone[0]}"):
        reopened(checkpoint, HEADS["pooled"])
    new_headed(checkpoint, HEADS["pooled"], seed=1, device="cpu")
    without(checkpoint, "model.safetensors", lambda name: "layer.1.output.dense" in name)
    with pytest.raises(
        ModelError, match=r"2 tensors of the encoder .*encoder\.layer\.1\.output\.dense\.bias"
    ):
        new_headed(checkpoint, HEADS["token"], seed=1, device="cpu")


def test_a_damaged_head_of_the_harness_is_told_in_one_line(
    encoder: Callable[[str], Checkpoint], tmp_path: Path
) -> None:
    """Tensors missing, file missing, file cut short, description cut short."""
    headed = new_headed(encoder("mt5"), HEADS["pooled"], seed=1, device="cpu")
    checkpoint = saved(headed, encoder("mt5"), tmp_path / "saved")
    without(checkpoint, OWN_HEAD_WEIGHTS, lambda name: name == "dense.bias")
    with pytest.raises(
        ModelError, match=r"harness_head\.safetensors: tensors dense\.bias do not fit the head"
    ):
        reopened(checkpoint, HEADS["pooled"])
    path = checkpoint.folder / OWN_HEAD_WEIGHTS
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelError, match="cannot be opened"):
        reopened(checkpoint, HEADS["pooled"])
    path.unlink()
    with pytest.raises(ModelError, match=r"cannot be opened .*harness_head\.safetensors"):
        reopened(checkpoint, HEADS["pooled"])
    (checkpoint.folder / OWN_HEAD).write_text('{"kind": "poo', encoding="utf-8")
    with pytest.raises(ModelError, match=r"damaged or not readable"):
        open_checkpoint(str(checkpoint.folder))


def by_hand(head: Head, scores: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy item by item, mean over rows, words, or both ends of every row."""
    logs = torch.log_softmax(scores.double(), dim=1 if head.kind == "span" else -1)
    if head.kind == "pooled":
        items = [-logs[row, target] for row, target in enumerate(targets.tolist())]
    elif head.kind == "span":
        items = [
            -logs[row, place, end]
            for row, ends in enumerate(targets.tolist())
            for end, place in enumerate(ends)
        ]
    else:
        items = [
            -logs[row, place, target]
            for row, marks in enumerate(targets.tolist())
            for place, target in enumerate(marks)
            if target >= 0
        ]
    return torch.stack(items).mean()


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_the_loss_is_a_plain_cross_entropy(kind: str) -> None:
    torch.manual_seed(0)
    head = HEADS[kind]
    scores = torch.randn(4, 3) if kind == "pooled" else torch.randn(4, 6, head.size)
    targets = {
        "pooled": torch.tensor([0, 2, 1, 1]),
        "token": torch.tensor([[-100, 1, 2, -100, 0, -100]] * 2 + [[-100, 0, -100, -100, -100, -100]] * 2),
        "span": torch.tensor([[0, 0], [2, 5], [3, 3], [1, 2]]),
    }[kind]
    count = int((targets >= 0).sum()) if kind == "token" else 4
    assert float(loss(head, scores, targets) / count) == pytest.approx(float(by_hand(head, scores, targets)))


def test_the_loss_of_a_row_does_not_hang_on_its_padding() -> None:
    """No end of a span can lie there, and words have no target there."""
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    scores, targets = torch.randn(2, 6, 2), torch.tensor([[1, 3], [5, 5]])
    alone = loss(HEADS["span"], scores[:1, :4], targets[:1]) + loss(HEADS["span"], scores[1:], targets[1:])
    assert float(loss(HEADS["span"], scores, targets, mask)) == pytest.approx(float(alone))
