"""Families that need an adapter: each layer and each head against plain transformers, whatever else is in the batch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from harness_encoders.adapters import harness_encoders
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.models.nllb_moe.modeling_nllb_moe import NllbMoeSparseMLP

from harness.checkpoints import Checkpoint, adapted, open_checkpoint
from harness.engine.embed import Embedder, open_stores
from harness.engine.headed import Headed, new_headed, open_headed, save_headed
from harness.engine.headmodules import loss
from harness.engine.lessons import Examples
from harness.engine.load import Encoder, hidden_states, load_encoder
from harness.engine.predict import reading
from harness.engine.train import Hooks, Trainer
from harness.formats.base import Head
from harness.formats.rows import Rows
from harness.heads import OWN_HEAD_WEIGHTS
from harness.plan import Space
from harness.spec import Schedule

TEXTS = [
    "The dog sleeps.",
    "Der Hund schläft heute im Garten.",
    "Mbwa analala.",
    "",
    "This sentence is longer than the others, and it goes on and on and on for a good while until it ends. "
    * 3,
]
EXPERTS: dict[str, Any] = {"vocab_size": 3400, "d_model": 32, "pad_token_id": 1, "num_experts": 8}
T5: dict[str, Any] = {"vocab_size": 3400, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "mt5": ("MT5", {**T5, "num_layers": 3, "num_decoder_layers": 2, "pad_token_id": 1}),
    "switch_transformers": (
        "SwitchTransformers",
        {
            **T5,
            **EXPERTS,
            "num_layers": 4,
            "num_sparse_encoder_layers": 2,
            "num_decoder_layers": 2,
            "num_sparse_decoder_layers": 1,
            "expert_capacity": 4,
        },
    ),
    "nllb-moe": (
        "NllbMoe",
        {
            **EXPERTS,
            "encoder_layers": 4,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_sparse_step": 2,
            "decoder_sparse_step": 2,
            "max_position_embeddings": 130,
            "init_std": 0.5,
        },
    ),
    "xmod": (
        "Xmod",
        {
            "vocab_size": 3400,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 130,
            "type_vocab_size": 1,
            "languages": ["de_DE", "en_XX", "zh_CN", "zh_TW"],
            # Large enough for adapters to differ.
            "initializer_range": 0.5,
        },
    ),
}
HEADS = {
    "pooled": Head(kind="pooled", labels=("yes", "no", "maybe")),
    "token": Head(kind="token", labels=("yes", "no", "maybe")),
    "span": Head(kind="span"),
}
IDS = torch.tensor([[0, 5, 6, 7, 2, 2, 8, 9, 2], [0, 15, 16, 2, 2, 17, 2, 1, 1]])
MASK = (IDS != 1).long()


def make(family: str, tokenizer: Path, target: Path, **changes: Any) -> Checkpoint:
    """A tiny random model of a family, with the sample's tokenizer, as its adapter runs it."""
    stem, settings = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{stem}Config")(**{**settings, **changes})
        getattr(transformers, f"{stem}Model")(config).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, target / name)
    return opened(target)


def opened(folder: Path) -> Checkpoint:
    """A folder as the adapter of its family, where there is one, runs it."""
    plain = open_checkpoint(str(folder))
    adapters = [found for found in harness_encoders() if plain.family in found.model_types]
    return adapted(plain, adapters[0] if adapters else None)


@pytest.fixture(scope="module")
def model(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkpoint]:
    """A model of a family, made once."""
    made: dict[str, Checkpoint] = {}

    def get(family: str) -> Checkpoint:
        if family not in made:
            made[family] = make(family, sample_model, tmp_path_factory.mktemp(family))
        return made[family]

    return get


def choices_of(router: Any, states: Tensor) -> list[list[tuple[int, float]]]:
    """For each token its two experts with their gates, which sum to 1: the paper's top-2 routing, token by token."""
    found = []
    for state in states:
        chances = torch.softmax(router.classifier(state.float()), dim=-1)
        first, second = torch.topk(chances, 2).indices.tolist()
        total = float(chances[first] + chances[second])
        found.append([(number, float(chances[number]) / total) for number in (first, second)])
    return found


def written_out(self: Any, hidden_states: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """What a sparse layer of NLLB-MoE gives in evaluation, token by token; padding gets nothing."""
    flat = hidden_states.reshape(-1, hidden_states.shape[-1])
    result = torch.zeros_like(flat)
    for token, chosen in enumerate(choices_of(self.router, flat)):
        for number, gate in chosen:
            result[token] += gate * self.experts[f"expert_{number}"](flat[token : token + 1])[0]
    kept = 1 - float(self.experts.moe_token_dropout)
    if padding_mask is not None:
        result[(padding_mask[:, 0, -1, :] != 0).reshape(-1)] = 0
    return kept * result.reshape(hidden_states.shape)


def plain_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What transformers alone opens; with NLLB-MoE's routing written out, for transformers has it wrong."""
    monkeypatch.setattr(NllbMoeSparseMLP, "forward", written_out)
    plain: Any = AutoModel.from_pretrained(folder)
    return (plain.get_encoder() if plain.config.is_encoder_decoder else plain).eval()


def states_of(plain: Any, **inputs: Any) -> list[Tensor]:
    """Every hidden state."""
    with torch.inference_mode():
        output = plain(**inputs, output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


def spaces_of(encoder: Encoder) -> list[Space]:
    """Mean pooling at every layer."""
    return [
        Space(layer=layer, pooling="mean", special_tokens=True, normalise=False, max_length=64)
        for layer in range(encoder.depth + 1)
    ]


def embedded(
    encoder: Encoder, texts: Sequence[str], home: Path, budget: int = 256, language: str = ""
) -> list[NDArray[np.float32]]:
    """Vectors of texts by layer."""
    spaces = spaces_of(encoder)
    stores = open_stores(home, encoder, spaces, dtype="float32", device="cpu")
    embedder = Embedder(encoder=encoder, stores=stores, batch_tokens=budget)
    embedder.embed(texts, embedder.tokenise(texts), language=language)
    return [stores[space].get(embedder.keys(texts, language))[0] for space in spaces]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_layer_agrees_with_transformers(
    model: Callable[[str], Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """One text at a time, without padding, batches or hooks."""
    checkpoint = model(family)
    encoder = load_encoder(checkpoint, device="cpu", dtype="float32")
    assert encoder.blocks is not None
    found = embedded(encoder, TEXTS, tmp_path, language="de")
    tokenizer: Any = AutoTokenizer.from_pretrained(str(checkpoint.folder))
    plain = plain_model(checkpoint.folder, monkeypatch)
    extra = {"lang_ids": torch.tensor([0])} if family == "xmod" else {}
    for number, text in enumerate(TEXTS):
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=64)["input_ids"]])
        for layer, state in enumerate(states_of(plain, input_ids=ids, **extra)):
            np.testing.assert_allclose(
                found[layer][number],
                state[0].mean(dim=0).numpy(),
                atol=2e-4,
                rtol=1e-4,
                err_msg=f"layer {layer}",
            )


@pytest.mark.parametrize("family", ["nllb-moe", "switch_transformers", "xmod"])
def test_a_row_comes_out_the_same_in_whatever_company(
    sample_model: Path, tmp_path: Path, family: str
) -> None:
    """Bit for bit, as with families without experts, whose matrices have a row for each token of the batch."""
    wide = {"hidden_size": 96} if family == "xmod" else {"d_model": 96}
    checkpoint = make(family, sample_model, tmp_path / family, **wide)
    encoder = load_encoder(checkpoint, device="cpu", dtype="float32")
    ids = torch.randint(3, 3000, (200, 9), generator=torch.Generator().manual_seed(1))
    layers = range(encoder.depth + 1)
    first = hidden_states(encoder, layers, {"input_ids": ids[:8]})
    for count in (12, 30, 77, 200):
        other = hidden_states(encoder, layers, {"input_ids": ids[:count]})
        assert all(torch.equal(first[layer], other[layer][:8]) for layer in layers), count


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_vectors_do_not_depend_on_the_batch_budget(
    model: Callable[[str], Checkpoint], tmp_path: Path, family: str
) -> None:
    encoder = load_encoder(model(family), device="cpu", dtype="float32")
    first = embedded(encoder, TEXTS, tmp_path / "a", budget=1)
    second = embedded(encoder, TEXTS, tmp_path / "b", budget=4096)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


def test_transformers_itself_still_routes_nllb_moe_wrongly(model: Callable[[str], Checkpoint]) -> None:
    """When this fails, transformers is mended, and the adapter's own routing can go."""
    plain: Any = AutoModel.from_pretrained(model("nllb-moe").folder).get_encoder().eval()
    layer = plain.layers[1].ffn
    used: set[int] = set()
    for number in range(8):
        layer.experts[f"expert_{number}"].register_forward_hook(
            lambda module, args, output, number=number: used.add(number)
        )
    chosen: set[int] = set()
    layer.register_forward_pre_hook(
        lambda module, args: chosen.update(n for c in choices_of(layer.router, args[0][0]) for n, _ in c)
    )
    with torch.inference_mode():
        plain(input_ids=torch.arange(3, 60)[None])
    assert used == {0, 1}
    assert len(chosen) > 4


def trained(
    checkpoint: Checkpoint,
    head: Head,
    *,
    dropout: float | None = None,
    numbers: NDArray[np.int64] | None = None,
) -> Headed:
    """A new head and its encoder after three steps over two rows, one of them padded."""
    headed = new_headed(checkpoint, head, seed=1, device="cpu", dropout=dropout)
    targets = {
        "pooled": torch.tensor([0, 2]),
        "token": torch.where(MASK == 1, IDS % 3, -100),
        "span": torch.tensor([[1, 3], [2, 2]]),
    }[head.kind]
    weights = [value for value in headed.module.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    headed.module.train()
    values = []
    for _ in range(3):
        optimizer.zero_grad()
        with reading(headed, numbers):
            value = loss(head, headed.module(IDS, MASK, None), targets, MASK)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]
    headed.module.eval()
    return headed


def scores_of(headed: Headed, numbers: NDArray[np.int64] | None = None) -> Tensor:
    """Scores of the two rows."""
    with torch.inference_mode(), reading(headed, numbers):
        scores: Tensor = headed.module(IDS, MASK, None)
    return scores


@pytest.mark.full
@pytest.mark.parametrize("kind", sorted(HEADS))
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_trained_head_is_saved_and_predicts_the_same_as_plain_transformers(
    model: Callable[[str], Checkpoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    kind: str,
) -> None:
    head = HEADS[kind]
    numbers = np.array([0, 2]) if family == "xmod" else None
    headed = trained(model(family), head, dropout=0.0)
    scores = scores_of(headed, numbers)
    (tmp_path / "saved").mkdir()
    save_headed(headed, model(family), tmp_path / "saved")
    checkpoint = opened(tmp_path / "saved")
    order = tuple(range(len(head.labels)))
    again = open_headed(checkpoint, head, order, device="cpu", dtype="float32")
    assert torch.equal(scores_of(again, numbers), scores)
    if family == "xmod":
        classes = {
            "pooled": "SequenceClassification",
            "token": "TokenClassification",
            "span": "QuestionAnswering",
        }
        plain = getattr(transformers, f"XmodFor{classes[kind]}").from_pretrained(checkpoint.folder).eval()
        with torch.inference_mode():
            output = plain(input_ids=IDS, attention_mask=MASK, lang_ids=torch.tensor([0, 2]))
        expected = (
            torch.stack([output.start_logits, output.end_logits], -1) if kind == "span" else output.logits
        )
    else:
        plain = plain_model(checkpoint.folder, monkeypatch)
        state = states_of(plain, input_ids=IDS, attention_mask=MASK)[-1]
        expected = by_hand(state, load_file(checkpoint.folder / OWN_HEAD_WEIGHTS), kind)
    inside = MASK.bool() if kind != "pooled" else torch.ones(2, dtype=torch.bool)
    torch.testing.assert_close(scores[inside], expected[inside], atol=1e-4, rtol=1e-4)


def by_hand(state: Tensor, weights: dict[str, Tensor], kind: str) -> Tensor:
    """The harness's own head written out; the sample's tokenizer puts a token first, so a pooled head reads that."""
    if kind == "pooled":
        state = torch.tanh(nn.functional.linear(state[:, 0], weights["dense.weight"], weights["dense.bias"]))
    return nn.functional.linear(state, weights["out.weight"], weights["out.bias"])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_without_dropout_training_computes_what_evaluation_does(
    model: Callable[[str], Checkpoint], family: str
) -> None:
    """No chance in it, no capacity that hangs on the batch, no other scale."""
    headed = new_headed(model(family), HEADS["token"], seed=1, device="cpu", dropout=0.0)
    headed.module.eval()
    expected = scores_of(headed)
    headed.module.train()
    assert torch.equal(scores_of(headed), scores_of(headed))
    torch.testing.assert_close(scores_of(headed)[MASK.bool()], expected[MASK.bool()], atol=1e-5, rtol=1e-5)


class _Stop:
    """Raises KeyboardInterrupt at a certain step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, step: int, value: float) -> None:
        if step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_an_interrupted_training_ends_with_the_same_weights(
    model: Callable[[str], Checkpoint], tmp_path: Path, family: str
) -> None:
    """Experts that no token has chosen so far included, and what is random in routers."""
    lengths = [6, 9, 9, 4, 12, 5, 9, 7]
    generator = np.random.default_rng(0)
    rows = Rows(
        ids=generator.integers(3, 3000, sum(lengths)).astype(np.int32),
        segments=np.zeros(sum(lengths), dtype=np.uint8),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        owner=np.arange(len(lengths)),
    )
    schedule = Schedule(
        epochs=3, batch_size=3, learning_rate=1e-3, warmup=0.0, weight_decay=0.1, adam_epsilon=1e-8
    )

    def run(folder: str, stop: int) -> dict[str, Tensor]:
        headed = new_headed(model(family), HEADS["pooled"], seed=1, device="cpu")
        lesson = Examples(headed=headed, rows=rows, targets=np.arange(8) % 3, batch_size=3, epochs=3)
        trainer = Trainer(
            lessons=[lesson],
            schedule=schedule,
            seed=5,
            dtype="float32",
            folder=tmp_path / folder,
            micro_tokens=20,
            hooks=Hooks(stepped=_Stop(stop)),
        )
        trainer.run()
        return {name: value.clone() for name, value in headed.module.state_dict().items()}

    whole = run("whole", 0)
    for stop in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            run("parts", stop)
        torch.rand(7)
    parts = run("parts", 0)
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
