"""Low-rank adapters: they and the head alone are trained, and what is written is a plain model that answers the same."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_encoders.adapters import harness_encoders
from safetensors.torch import load_file
from torch import Tensor

from harness import ModelError
from harness.checkpoints import Checkpoint, adapted, open_checkpoint
from harness.engine.headed import Headed, new_headed, open_headed, save_headed
from harness.engine.lessons import Examples, micro_loss
from harness.engine.lora import Adapted, adapt
from harness.engine.train import Hooks, Trainer
from harness.formats.base import Head
from harness.formats.rows import Rows
from harness.spec import Schedule
from harness.tuning import checkpoint_gradients

Cli = Callable[..., Any]
FAMILIES = (
    *("bert", "xlm-roberta", "xlm-roberta-xl", "xmod", "rembert", "deberta-v2", "modernbert", "eurobert"),
    *("mt5", "switch_transformers", "nllb-moe", "qwen3", "qwen3_moe", "qwen2", "llama", "mistral"),
)
QUICK = ("bert", "xmod", "mt5", "nllb-moe", "qwen3_moe")
HEAD = Head(kind="pooled", labels=("yes", "no", "maybe"))
IDS = torch.tensor([[0, 5, 6, 7, 2, 2, 8, 9, 2], [0, 15, 16, 2, 2, 17, 2, 1, 1]])
MASK = (IDS != 1).long()
SCHEDULE = Schedule(epochs=3, batch_size=3, learning_rate=1e-2, weight_decay=0.1)
FAST = ("--data", "sample", "--device", "cpu", "--hyper", "max_steps=3", "--hyper", "warmup=0")
RANK = ("--hyper", "lora_rank=4")


def adapted_model(checkpoint: Checkpoint, seed: int = 1) -> tuple[Headed, Adapted]:
    """A new pooled head over an encoder with adapters of rank 4."""
    plain = next((kind for kind in harness_encoders() if checkpoint.family in kind.model_types), None)
    headed = new_headed(adapted(checkpoint, plain), HEAD, seed=1, device="cpu", dropout=0.0)
    return headed, adapt(headed.encoder, [headed.module], rank=4, alpha=8.0, seed=seed)


def lesson_of(headed: Headed) -> Examples:
    """Eight rows of made-up tokens."""
    lengths = [6, 9, 9, 4, 12, 5, 9, 7]
    generator = np.random.default_rng(0)
    rows = Rows(
        ids=generator.integers(3, 3000, sum(lengths)).astype(np.int32),
        segments=np.zeros(sum(lengths), dtype=np.uint8),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        owner=np.arange(len(lengths)),
    )
    return Examples(headed=headed, rows=rows, targets=np.arange(8) % 3, batch_size=3, epochs=3)


class _Stop:
    """Raises KeyboardInterrupt at a certain step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, step: int, value: float) -> None:
        if step == self.at:
            raise KeyboardInterrupt


def learn(headed: Headed, folder: Path, stop: int = 0) -> None:
    """Nine steps, or as many until it is stopped."""
    trainer = Trainer(
        lessons=[lesson_of(headed)],
        schedule=SCHEDULE,
        seed=5,
        dtype="float32",
        folder=folder,
        micro_tokens=20,
        hooks=Hooks(stepped=_Stop(stop)),
    )
    trainer.run()


def scores_of(headed: Headed) -> Tensor:
    """Of two rows, one of them padded."""
    headed.module.eval()
    with torch.inference_mode():
        scores: Tensor = headed.module(IDS, MASK, None)
    return scores


def of_the_head(headed: Headed, name: str) -> bool:
    """Whether a parameter of the whole model is trained whole: what is not the encoder's, and its pooler."""
    inside = {id(value): own for own, value in headed.encoder.named_parameters()}
    own = inside.get(id(dict(headed.module.named_parameters())[name]))
    return own is None or own.startswith("pooler.")


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in FAMILIES],
)
def test_only_adapters_and_the_head_are_trained_and_merging_changes_no_answer(
    tiny_model: Callable[..., Checkpoint], tmp_path: Path, family: str
) -> None:
    source = tiny_model(family)
    plain = new_headed(adapted_checkpoint(source), HEAD, seed=1, device="cpu", dropout=0.0)
    headed, found = adapted_model(source)
    assert torch.equal(scores_of(headed), scores_of(plain))
    before = {name: value.detach().clone() for name, value in headed.module.named_parameters()}
    learn(headed, tmp_path / "work")
    for name, value in headed.module.named_parameters():
        meant = "lora_" in name or of_the_head(headed, name)
        assert value.requires_grad == meant, name
        assert meant or (value.grad is None and torch.equal(value, before[name])), name
    moved = [name for name, value in headed.module.named_parameters() if not torch.equal(value, before[name])]
    assert any("lora_A" in name for name in moved)
    assert any("lora_" not in name for name in moved)
    assert found.trained == sum(v.numel() for v in headed.module.parameters() if v.requires_grad)
    assert found.total == sum(value.numel() for value in plain.module.parameters())
    unmerged = scores_of(headed)
    found.merge()
    merged = scores_of(headed)
    torch.testing.assert_close(merged, unmerged, atol=1e-5, rtol=1e-5)
    assert headed.module.state_dict().keys() == plain.module.state_dict().keys()
    (tmp_path / "saved").mkdir()
    save_headed(headed, adapted_checkpoint(source), tmp_path / "saved")
    again = adapted_checkpoint(open_checkpoint(str(tmp_path / "saved")))
    assert torch.equal(scores_of(open_headed(again, HEAD, (0, 1, 2), device="cpu", dtype="float32")), merged)


def adapted_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """As the adapter of its family, where there is one, runs it."""
    return adapted(
        checkpoint,
        next((kind for kind in harness_encoders() if checkpoint.family in kind.model_types), None),
    )


def test_what_an_adapter_adds_is_the_product_of_its_two_matrices(
    tiny_model: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    """Alpha over rank times B A, for every linear layer; nothing else of the encoder is another number."""
    headed, found = adapted_model(tiny_model("xlm-roberta"))
    learn(headed, tmp_path)
    before = {name: value.detach().clone() for name, value in headed.encoder.state_dict().items()}
    found.merge()
    after = headed.encoder.state_dict()
    linear = [
        name.removesuffix(".base_layer.weight") for name in before if name.endswith(".base_layer.weight")
    ]
    assert len(linear) == found.layers == 12
    for name in linear:
        added = before[f"{name}.lora_B.default.weight"] @ before[f"{name}.lora_A.default.weight"]
        torch.testing.assert_close(after[f"{name}.weight"], before[f"{name}.base_layer.weight"] + 2 * added)
    others = [name for name in after if name.removesuffix(".weight") not in linear and "bias" not in name]
    assert any("word_embeddings" in name for name in others)
    assert all(torch.equal(after[name], before[name]) for name in others)


def test_first_values_follow_from_the_seed_and_torch_is_left_alone(
    tiny_model: Callable[..., Checkpoint],
) -> None:
    before = torch.get_rng_state()
    weights = []
    for seed in (1, 1, 2):
        headed, _ = adapted_model(tiny_model("bert"), seed)
        weights.append(torch.cat([v.flatten() for n, v in headed.module.named_parameters() if "lora_A" in n]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("family", ["xlm-roberta", "switch_transformers"])
def test_an_interrupted_training_ends_with_the_same_weights(
    tiny_model: Callable[..., Checkpoint], tmp_path: Path, family: str
) -> None:
    def run(folder: str, stop: int) -> dict[str, Tensor]:
        headed, found = adapted_model(tiny_model(family))
        learn(headed, tmp_path / folder, stop)
        found.merge()
        return headed.module.state_dict()

    whole = run("whole", 0)
    for stop in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            run("parts", stop)
        torch.rand(7)
    parts = run("parts", 0)
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "mt5", "qwen3"])
def test_gradients_are_the_same_with_gradient_checkpointing(
    tiny_model: Callable[..., Checkpoint], family: str
) -> None:
    """Though no gradient goes down to the embeddings, which are not trained."""

    def gradients(*, checkpointing: bool) -> dict[str, Tensor]:
        headed, _ = adapted_model(tiny_model(family))
        if checkpointing:
            checkpoint_gradients(headed)
        headed.module.train()
        lesson = lesson_of(headed)
        loss: Any = micro_loss(headed, lesson.draw(0, 0), np.arange(3))
        loss.backward()
        return {name: v.grad for name, v in headed.module.named_parameters() if v.grad is not None}

    plain, saving = gradients(checkpointing=False), gradients(checkpointing=True)
    assert plain.keys() == saving.keys()
    assert any("lora_B" in name and value.abs().max() > 0 for name, value in plain.items())
    for name, value in plain.items():
        torch.testing.assert_close(saving[name], value, msg=name)


def test_an_encoder_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(ModelError, match=r"Embedding has no linear layer .* lora_rank"):
        adapt(torch.nn.Embedding(3, 4), [], rank=4, alpha=None, seed=0)


# On the whole road


def checkpoints(home: Path) -> list[Path]:
    """Folders of the trainings in a cache."""
    return sorted(path.parent for path in (home / "checkpoints").glob("*/training.json"))


def test_a_fine_tuning_with_adapters_leaves_a_plain_folder_that_says_so(
    cli: Cli, isolated: Callable[..., Path], tmp_path: Path
) -> None:
    home = isolated()
    common = ("eval", "-m", "sample", "-t", "xnli", "-l", "de", *FAST)
    told = cli(*common, *RANK, "-o", tmp_path / "run")
    assert told.code == 0, told.err
    (folder,) = checkpoints(home)
    facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert {name: facts["lora"][name] for name in ("rank", "alpha", "layers", "merged")} == {
        "rank": 4,
        "alpha": 4.0,
        "layers": 24,
        "merged": True,
    }
    assert facts["facts"]["schedule"]["lora_rank"] == 4
    assert facts["changed"]["lora_rank"] == "4"
    assert not [
        name for name in load_file(folder / "model.safetensors") if "lora" in name or "base_layer" in name
    ]
    record = json.loads((tmp_path / "run" / "records.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert record["trained"]["lora"] == facts["lora"]
    assert "train.lora_rank=4" in record["variant"]
    assert "low-rank adapters of rank 4" in cli(*common, *RANK, "--dry-run").out
    assert "low-rank adapters of rank 4 (merged)" in cli("lineage", folder).out


def test_rank_0_is_the_whole_encoder_and_the_same_training(cli: Cli, isolated: Callable[..., Path]) -> None:
    isolated()
    keys = []
    for more in ((), ("--hyper", "lora_rank=0"), RANK, (*RANK, "--hyper", "lora_alpha=16")):
        told = cli("eval", "-m", "sample", "-t", "xnli", "-l", "de", *FAST, *more, "--dry-run", "--json")
        assert told.code == 0, told.err
        keys.append(json.loads(told.out)["trainings"][0]["checkpoint"])
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_intermediate_training_with_adapters_keeps_embeddings_and_goes_on(
    cli: Cli, isolated: Callable[..., Path], tmp_path: Path, sample_model: Path
) -> None:
    """Two tasks and masked LM share one set of adapters; the next stage begins with the merged weights."""
    isolated()
    command = ("train", "-m", "sample", "-t", "mnli,copa", "--mlm-share", "0.5", *FAST, *RANK)
    told = cli(*command, "-o", tmp_path / "ckpt")
    assert told.code == 0, told.err
    before = load_file(sample_model / "model.safetensors")
    after = load_file(tmp_path / "ckpt" / "model.safetensors")
    # The sample has no pooler, and none is learned here.
    assert {name for name in after if not name.startswith("pooler.")} == set(before)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved == {name for name in before if name.endswith("weight") and _linear(name)}
    told = cli("eval", "-m", tmp_path / "ckpt", "-t", "xnli", "-l", "de", *FAST)
    assert told.code == 0, told.err


def _linear(name: str) -> bool:
    return ".dense." in name or any(f".{part}." in name for part in ("query", "key", "value"))


def test_alpha_without_a_rank_is_one_line(cli: Cli) -> None:
    told = cli("eval", "-m", "sample", "-t", "xnli", *FAST, "--hyper", "lora_alpha=16")
    assert told.code == 2
    assert told.complaint == (
        "harness: hyper-parameter lora_alpha: belongs to low-rank adapters; give lora_rank too, e.g. 8"
    )


@pytest.mark.parametrize("text", ["lora_rank=-1", "lora_rank=many", "lora_alpha=0"])
def test_a_rank_that_is_none_is_one_line(cli: Cli, text: str) -> None:
    told = cli("eval", "-m", "sample", "-t", "xnli", *FAST, "--hyper", text)
    assert told.code == 2
    assert f"hyper-parameter {text} is not allowed" in told.complaint


@pytest.mark.parametrize("command", [("eval", "-t", "xnli"), ("train", "-t", "mnli", "-o", "there")])
def test_without_peft_it_is_one_line_before_anything_is_computed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else real(name, *rest)
    )
    told = cli(command[0], "-m", "sample", *command[1:], *FAST, *RANK)
    assert told.code == 2
    assert "needs the package peft, which is not installed" in told.complaint
    assert "[lora]" in told.complaint
