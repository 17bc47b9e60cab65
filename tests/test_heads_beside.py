"""Several heads over one encoder: shared in memory, written beside it, opened again, used where their task is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForTextEncoding

from harness import ModelError
from harness.checkpoints import Checkpoint, for_task, open_checkpoint
from harness.engine.headed import Headed, new_headed
from harness.engine.multi import Heads, open_answering, open_heads, save_heads
from harness.formats.base import Head
from harness.heads import HEAD_FACTS, HEAD_WEIGHTS, HEADS, head_name, label_order

LABELS = ("yes", "no", "maybe")
POOLED = Head(kind="pooled", labels=LABELS)
TWO = Head(kind="pooled", labels=("same", "other"))
TOKEN = Head(kind="token", labels=LABELS)
SPAN, CHOICE, MASKED = Head(kind="span"), Head(kind="choice"), Head(kind="vocabulary")
SCORING = (POOLED, TWO, TOKEN, SPAN, CHOICE)
EVERY = (*SCORING, MASKED)
TASKS = {
    POOLED: ["nli", "other-nli"],
    TWO: ["pairs"],
    TOKEN: ["tags"],
    SPAN: ["qa"],
    CHOICE: ["copa"],
    MASKED: ["mlm"],
}
FAMILIES = ("bert", "xlm-roberta", "xmod", "rembert", "deberta-v2", "modernbert", "eurobert", "mt5")
# Where each family takes its time, the others wait for the full tests.
SOME = [
    pytest.param(family, marks=[pytest.mark.full] * (family not in ("xlm-roberta", "mt5")))
    for family in FAMILIES
]
IDS = torch.tensor([[0, 5, 6, 7, 2, 2, 8, 9, 2], [0, 15, 16, 2, 2, 17, 2, 1, 1]])
MASK = (IDS != 1).long()
Tiny = Callable[..., Checkpoint]


def opened(checkpoint: Checkpoint, *heads: Head, seed: int = 3, dropout: float | None = None) -> Heads:
    """Heads over a checkpoint's encoder."""
    return open_heads(checkpoint, heads or EVERY, seed=seed, device="cpu", dropout=dropout)


def scores_of(headed: Headed) -> Tensor:
    """Scores of two rows, one of them padded; of a masked-LM head those of three tokens."""
    chosen = torch.zeros_like(IDS, dtype=torch.bool)
    chosen[0, 1] = chosen[1, 2] = chosen[1, 5] = True
    more = (chosen,) if headed.head.kind == "vocabulary" else ()
    headed.module.eval()
    with torch.inference_mode():
        scores: Tensor = headed.module(IDS, MASK, None, *more)
    return scores


def states_of(checkpoint: Checkpoint) -> Tensor:
    """Hidden states of the two rows by transformers alone; rows are filled up, so they are compared where tokens are."""
    known: Any = AutoModelForTextEncoding if checkpoint.family == "mt5" else AutoModel
    model = known.from_pretrained(checkpoint.folder).eval()
    if checkpoint.family == "xmod":
        model.set_default_language("en_XX")
    with torch.inference_mode():
        states: Tensor = model(input_ids=IDS, attention_mask=MASK).last_hidden_state
    return states[MASK.bool()]


def saved(
    heads: Heads, source: Checkpoint, folder: Path, tasks: dict[Head, list[str]] | None = None
) -> Checkpoint:
    """Written and opened as a checkpoint."""
    folder.mkdir()
    save_heads(heads, TASKS if tasks is None else tasks, source, folder)
    return open_checkpoint(str(folder))


def answering(checkpoint: Checkpoint, task: str, head: Head, dtype: str = "float32") -> Headed:
    """The head of a task, as an evaluation opens it."""
    mine = for_task(checkpoint, task)
    order = label_order(mine.head, head.kind, head.labels)
    assert isinstance(order, tuple)
    return open_answering(mine, head, order, device="cpu", dtype=dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_heads_share_the_encoder_s_very_tensors(tiny_model: Tiny, family: str) -> None:
    """What one head's training changes, all others see; nothing of the encoder is there twice."""
    found = opened(tiny_model(family))
    assert set(found.headed) == set(EVERY)
    shared = {value.data_ptr() for value in found.encoder.parameters()}
    table = found.encoder.get_input_embeddings().weight
    own: list[int] = []
    for head, headed in found.headed.items():
        mine = {value.data_ptr() for value in headed.module.parameters()}
        inside = mine & shared
        assert table.data_ptr() in inside, head
        own += list(mine - shared)
        assert headed.head == head
    assert len(own) == len(set(own))
    before = {head: scores_of(headed) for head, headed in found.headed.items()}
    with torch.no_grad():
        table.mul_(1.7).add_(0.1 * torch.arange(table.shape[1]))
    assert all(not torch.equal(scores_of(found.headed[head]), scores) for head, scores in before.items())


@pytest.mark.parametrize("family", SOME)
def test_a_head_s_first_weights_do_not_depend_on_its_company(tiny_model: Tiny, family: str) -> None:
    """They follow from the seed, and are those that a target's fine-tuning begins with."""
    checkpoint = tiny_model(family)
    found, turned = opened(checkpoint), opened(checkpoint, *reversed(EVERY))
    assert found.fresh == turned.fresh == set(EVERY)
    for head in EVERY:
        expected = opened(checkpoint, head).headed[head].module.state_dict()
        for company in (found, turned):
            state = company.headed[head].module.state_dict()
            assert state.keys() == expected.keys()
            assert all(torch.equal(state[name], expected[name]) for name in state)
        if head is not MASKED:
            target = new_headed(checkpoint, head, seed=3, device="cpu").module.state_dict()
            assert all(torch.equal(target[name], expected[name]) for name in target)


def test_another_seed_gives_other_heads(tiny_model: Tiny) -> None:
    checkpoint = tiny_model("bert")
    found, other = opened(checkpoint), opened(checkpoint, seed=4)
    for head in EVERY:
        states = [heads.headed[head].module.state_dict() for heads in (found, other)]
        assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0]), head


def test_opening_heads_leaves_torch_s_random_numbers_alone(tiny_model: Tiny) -> None:
    before = torch.get_rng_state()
    opened(tiny_model("bert"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", SOME)
def test_a_saved_folder_is_a_plain_encoder_with_heads_beside_it(
    tiny_model: Tiny, tmp_path: Path, family: str
) -> None:
    """transformers gives the same hidden states as before, and each task's head the same scores as in training."""
    source = tiny_model(family)
    found = opened(source)
    checkpoint = saved(found, source, tmp_path / "saved")
    assert checkpoint.head is None
    assert checkpoint.family == family
    assert torch.equal(states_of(checkpoint), states_of(source))
    for head in SCORING:
        for task in TASKS[head]:
            carried = checkpoint.heads[task]
            assert (carried.kind, carried.labels) == (head.kind, head.labels)
            assert torch.equal(scores_of(answering(checkpoint, task, head)), scores_of(found.headed[head])), (
                head
            )
    again = opened(checkpoint, seed=99)
    assert again.fresh == frozenset()
    for head in EVERY:
        assert torch.equal(scores_of(again.headed[head]), scores_of(found.headed[head])), head


def test_heads_are_told_apart_by_their_outputs_and_not_by_their_tasks(
    tiny_model: Tiny, tmp_path: Path
) -> None:
    """Tasks with one label space share one head; the folder says which."""
    source = tiny_model("bert")
    checkpoint = saved(opened(source), source, tmp_path / "saved")
    names = {path.name for path in (checkpoint.folder / HEADS).iterdir()}
    assert names == {head_name(head.kind, head.labels) for head in EVERY}
    assert checkpoint.heads["nli"].beside == checkpoint.heads["other-nli"].beside
    assert set(checkpoint.heads) == {task for tasks in TASKS.values() for task in tasks}
    assert len({for_task(checkpoint, task).weights for task in ("nli", "pairs", "qa")}) == 3
    assert (
        for_task(checkpoint, "nli").weights == for_task(checkpoint, "other-nli").weights != checkpoint.weights
    )
    assert for_task(checkpoint, "unknown") is checkpoint


@pytest.mark.parametrize("family", ["bert", "mt5"])
def test_labels_in_another_order_are_put_right(tiny_model: Tiny, tmp_path: Path, family: str) -> None:
    source, turned = tiny_model(family), ("no", "maybe", "yes")
    found = opened(source)
    checkpoint = saved(found, source, tmp_path / "saved")
    for task, head in (("nli", POOLED), ("tags", TOKEN)):
        other = answering(checkpoint, task, Head(kind=head.kind, labels=turned))
        assert torch.equal(scores_of(other), scores_of(found.headed[head])[..., [1, 2, 0]])


def test_a_head_can_answer_in_bfloat16(tiny_model: Tiny, tmp_path: Path) -> None:
    source = tiny_model("xlm-roberta")
    found = opened(source)
    half = answering(saved(found, source, tmp_path / "saved"), "nli", POOLED, "bfloat16")
    assert {value.dtype for value in half.module.parameters()} == {torch.bfloat16} == {half.dtype}
    assert torch.allclose(scores_of(half), scores_of(found.headed[POOLED]), atol=0.05)


def test_heads_of_earlier_phases_are_copied_along(tiny_model: Tiny, tmp_path: Path) -> None:
    """Byte for byte where they were not opened; and a head that is learned on goes on for all its tasks."""
    source = tiny_model("bert")
    first = saved(opened(source, POOLED, SPAN), source, tmp_path / "one", {POOLED: ["nli"], SPAN: ["qa"]})
    second = opened(first, POOLED, TOKEN, seed=8)
    assert second.fresh == {TOKEN}
    with torch.no_grad():
        for value in second.headed[POOLED].module.parameters():
            value.add_(0.01)
    checkpoint = saved(second, first, tmp_path / "two", {POOLED: ["more-nli"], TOKEN: ["tags"]})
    assert set(checkpoint.heads) == {"nli", "more-nli", "qa", "tags"}
    spans = [c.folder / HEADS / head_name("span", ()) / HEAD_WEIGHTS for c in (first, checkpoint)]
    assert {n: v.tolist() for n, v in load_file(spans[0]).items()} == {
        n: v.tolist() for n, v in load_file(spans[1]).items()
    }
    assert checkpoint.heads["nli"] == checkpoint.heads["more-nli"]
    assert torch.equal(scores_of(answering(checkpoint, "nli", POOLED)), scores_of(second.headed[POOLED]))
    assert checkpoint.heads["nli"].digest != first.heads["nli"].digest
    assert checkpoint.heads["qa"].digest == first.heads["qa"].digest


@pytest.mark.parametrize("family", FAMILIES)
def test_a_dropout_that_was_changed_is_not_the_next_phase_s(
    tiny_model: Tiny, tmp_path: Path, family: str
) -> None:
    """The configuration that is written says what the parent's said; while training, the changed one holds."""
    source = tiny_model(family)
    found = opened(source, POOLED, MASKED, dropout=0.0)
    for headed in found.headed.values():
        chosen = (IDS == 6,) if headed.head is MASKED else ()
        headed.module.train()
        assert torch.equal(headed.module(IDS, MASK, None, *chosen), headed.module(IDS, MASK, None, *chosen))
    checkpoint = saved(found, source, tmp_path / "saved", {POOLED: ["nli"], MASKED: ["mlm"]})
    odd = {
        name
        for name in source.config
        if "drop" in name and checkpoint.config.get(name) != source.config[name]
    }
    assert odd == set()
    rates = [
        [
            part.p
            for part in opened(folder, POOLED).headed[POOLED].module.modules()
            if isinstance(part, nn.Dropout)
        ]
        for folder in (source, checkpoint)
    ]
    assert rates[0] == rates[1]
    # ModernBERT and EuroBERT have none by default.
    assert any(rates[1]) == (family not in ("modernbert", "eurobert"))


# Damaged folders


@pytest.fixture
def folder(tiny_model: Tiny, tmp_path: Path) -> Path:
    """A saved folder, to be damaged."""
    source = tiny_model("bert")
    return saved(opened(source), source, tmp_path / "saved").folder


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"kind": "pooled"}', b'{"kind": 1, "labels": 3, "tasks": []}']
)
def test_a_head_whose_description_is_damaged_is_told(folder: Path, content: bytes) -> None:
    path = folder / HEADS / head_name("span", ()) / HEAD_FACTS
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        open_checkpoint(str(folder))
    assert str(path) in str(caught.value)
    assert "damaged or not readable" in str(caught.value)


def test_a_head_whose_weights_are_gone_is_told(folder: Path) -> None:
    path = folder / HEADS / head_name("span", ()) / HEAD_WEIGHTS
    path.unlink()
    with pytest.raises(ModelError) as caught:
        open_checkpoint(str(folder))
    assert str(path) in str(caught.value)


def test_a_head_whose_weights_are_cut_short_is_told(folder: Path) -> None:
    """When it is opened; the other heads can be used."""
    path = folder / HEADS / head_name("span", ()) / HEAD_WEIGHTS
    path.write_bytes(path.read_bytes()[:-5])
    checkpoint = open_checkpoint(str(folder))
    answering(checkpoint, "nli", POOLED)
    for refuse in (lambda: answering(checkpoint, "qa", SPAN), lambda: opened(checkpoint, SPAN)):
        with pytest.raises(ModelError) as caught:
            refuse()
        assert f"{path}: not readable" in str(caught.value)


@pytest.mark.parametrize("what", ["missing", "more", "shape"])
def test_a_head_with_other_tensors_than_its_own_is_told(folder: Path, what: str) -> None:
    path = folder / HEADS / head_name("pooled", LABELS) / HEAD_WEIGHTS
    state = load_file(path)
    name = min(state)
    if what == "missing":
        del state[name]
    elif what == "more":
        name = "odd"
        state["odd"] = torch.zeros(2)
    else:
        state[name] = torch.zeros(7)
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        answering(open_checkpoint(str(folder)), "nli", POOLED)
    assert f"{path}: tensors {name} do not fit the pooled head" in str(caught.value)


def test_an_encoder_with_missing_tensors_is_told(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = {name: value for name, value in load_file(path).items() if "layer.1.output.dense" not in name}
    save_file(state, path, metadata={"format": "pt"})
    for refuse in (
        lambda: opened(open_checkpoint(str(folder)), POOLED),
        lambda: answering(open_checkpoint(str(folder)), "nli", POOLED),
    ):
        with pytest.raises(ModelError, match="2 tensors of the encoder are missing"):
            refuse()


# Evaluation


FAST = ("--data", "sample", "--hyper", "max_steps=2", "--hyper", "batch_size=4", "--hyper", "warmup=0")


@pytest.fixture(scope="module")
def trained(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model after some MNLI and SQuAD."""
    from harness.cli.main import _run

    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(home))
        command = [
            "train",
            "-m",
            str(sample_model),
            "-t",
            "mnli,squad_v1",
            *FAST,
            "-o",
            str(folder),
            "--device",
            "cpu",
        ]
        assert _run(command, debug=True) == 0
    return folder


def test_a_head_beside_answers_its_own_task_and_no_other(
    cli: Callable[..., Any], isolated: Callable[..., Path], trained: Path, tmp_path: Path
) -> None:
    """MNLI is answered by what was learned; XNLI, with the same labels, gets a new head on the encoder."""
    home = isolated()
    run = tmp_path / "run"
    done = cli("eval", "-m", trained, "-t", "mnli,xnli", "-l", "en", *FAST, "-o", run, "--device", "cpu")
    assert done.code == 0, done.err
    records = [json.loads(line) for line in (run / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    seeds = {record["task"]: record["seed"] for record in records}
    assert seeds == {"mnli": None, "xnli": 0}
    dev = {entry["task"]: entry for entry in open_checkpoint(str(trained)).lineage[-1]["dev"]}
    (scored,) = [r for r in records if (r["task"], r["metric"]) == ("mnli", "accuracy")]
    assert scored["value"] == dev["mnli"]["value"]
    assert len(list((home / "checkpoints").glob("*/training.json"))) == 1


def test_a_task_with_a_head_beside_needs_no_training(
    cli: Callable[..., Any], isolated: Callable[..., Path], trained: Path, tmp_path: Path
) -> None:
    home = isolated()
    arguments = ("-l", "en", "--data", "sample", "--no-train", "--device", "cpu")
    done = cli("eval", "-m", trained, "-t", "mnli,squad_v1", *arguments, "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert not list(home.glob("checkpoints/*"))
    refused = cli("eval", "-m", trained, "-t", "xnli", *arguments, "-o", tmp_path / "other")
    assert refused.code == 2
    assert "needs a pooled head" in refused.complaint


def test_a_damaged_head_is_one_line_of_the_command(
    cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (path,) = copy.glob(f"{HEADS}/pooled-*/{HEAD_FACTS}")
    path.write_text("{", encoding="utf-8")
    done = cli("eval", "-m", copy, "-t", "mnli", "--data", "sample", "-o", tmp_path / "run")
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert str(path) in done.complaint
