"""A language per row, experts that look at one row only, and adapters that plugins bring."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from harness_encoders.adapters import NLLB_MOE, SWITCH, XMOD, harness_encoders, xmod_languages
from numpy.typing import NDArray
from torch import Tensor
from transformers import XmodForSequenceClassification

from harness import ModelError
from harness.checkpoints import Checkpoint, adapted, open_checkpoint
from harness.encoders import EncoderAdapter
from harness.engine.embed import Embedder, open_stores
from harness.engine.headed import Headed, new_headed, save_headed
from harness.engine.load import load_encoder
from harness.engine.predict import Asked, Predictor, reading
from harness.errors import PluginError, SpecError
from harness.formats.base import Head, Predictions, Reader
from harness.formats.rows import Rows
from harness.plan import Space
from harness.registry import load_catalog

HEAD = Head(kind="pooled", labels=("yes", "no"))
TOKENS = Head(kind="token", labels=("yes", "no"))
XMOD_MODEL: dict[str, Any] = {
    "vocab_size": 3400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "type_vocab_size": 1,
    "languages": ["de_DE", "en_XX", "zh_CN", "zh_TW"],
    # Large enough for adapters to differ.
    "initializer_range": 0.5,
}
SWITCH_MODEL: dict[str, Any] = {
    "vocab_size": 3400,
    "d_model": 32,
    "d_kv": 8,
    "num_heads": 4,
    "d_ff": 64,
    "pad_token_id": 1,
    "num_layers": 2,
    "num_sparse_encoder_layers": 1,
    "num_decoder_layers": 2,
    "num_sparse_decoder_layers": 1,
    "num_experts": 2,
    "expert_capacity": 3,
}
NLLB_MODEL: dict[str, Any] = {
    "vocab_size": 3400,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_sparse_step": 2,
    "decoder_sparse_step": 2,
    "num_experts": 4,
    "pad_token_id": 1,
    "max_position_embeddings": 130,
    "init_std": 0.5,
}


def make(
    stem: str, settings: dict[str, Any], tokenizer: Path, target: Path, adapter: EncoderAdapter
) -> Checkpoint:
    """A tiny random model with the sample's tokenizer, as an adapter runs it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{stem}Config")(**settings)
        getattr(transformers, f"{stem}Model")(config).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, target / name)
    return adapted(open_checkpoint(str(target)), adapter)


@pytest.fixture(scope="module")
def xmod(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Adapters for German, English and twice for Chinese."""
    return make("Xmod", XMOD_MODEL, sample_model, tmp_path_factory.mktemp("xmod"), XMOD)


@dataclass(kw_only=True)
class Kept(Reader):
    """Keeps all scores by row."""

    scores: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Each row comes once."""
        assert not set(chosen.tolist()) & set(self.scores)
        self.scores.update(zip(chosen.tolist(), scores, strict=True))

    def predictions(self) -> list[Predictions]:
        """None."""
        return []


def rows_of(*sequences: list[int]) -> Rows:
    """One row a sequence."""
    lengths = [len(sequence) for sequence in sequences]
    ids = np.array([token for sequence in sequences for token in sequence], dtype=np.int32)
    return Rows(
        ids=ids,
        segments=np.zeros(len(ids), dtype=np.uint8),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        owner=np.arange(len(sequences)),
    )


def run(
    headed: Headed, rows: Rows, *languages: str
) -> tuple[list[dict[int, NDArray[np.float32]]], Predictor]:
    """The same rows asked for in several languages at once."""
    predictor = Predictor(headed=headed, batch_tokens=256)
    readers = [Kept() for _ in languages]
    predictor.run(
        [
            Asked(rows=rows, reader=reader, language=language)
            for reader, language in zip(readers, languages, strict=True)
        ]
    )
    return [reader.scores for reader in readers], predictor


ROWS = rows_of([0, 5, 6, 7, 2], [0, 9, 2], [0, *range(10, 90), 2], [0, 5, 6, 7, 2])


def test_each_row_is_read_with_the_adapter_of_its_language(xmod: Checkpoint, tmp_path: Path) -> None:
    """The same as transformers' own class, a row at a time with its ``lang_ids``; equal rows of two languages are two."""
    headed = new_headed(xmod, HEAD, seed=1, device="cpu")
    headed.module.eval()
    (tmp_path / "saved").mkdir()
    save_headed(headed, xmod, tmp_path / "saved")
    plain: Any = XmodForSequenceClassification.from_pretrained(tmp_path / "saved")
    plain.eval()
    languages = {"de": 0, "en": 1, "zh": 2, "yo": 1, "": 1}
    found, predictor = run(headed, ROWS, *languages)
    assert predictor.work.sequences == 3 * 3
    for scores, number in zip(found, languages.values(), strict=True):
        for row, score in scores.items():
            ids = torch.from_numpy(ROWS.ids[ROWS.starts[row] : ROWS.starts[row + 1]].astype(np.int64))
            with torch.inference_mode():
                expected = plain(input_ids=ids[None], lang_ids=torch.tensor([number])).logits[0]
            np.testing.assert_allclose(score, expected.numpy(), atol=1e-5, rtol=1e-4)
    assert np.abs(found[0][0] - found[1][0]).max() > 0.01


def test_a_language_in_company_gives_the_very_scores_that_it_gives_alone(xmod: Checkpoint) -> None:
    headed = new_headed(xmod, HEAD, seed=1, device="cpu")
    headed.module.eval()
    together, _ = run(headed, ROWS, "en", "de", "zh")
    for number, language in enumerate(("en", "de", "zh")):
        (alone,), _ = run(headed, ROWS, language)
        assert all(np.array_equal(alone[row], together[number][row]) for row in alone)


def test_rows_of_a_batch_may_be_in_several_languages_while_training(xmod: Checkpoint) -> None:
    headed = new_headed(xmod, HEAD, seed=1, device="cpu", dropout=0.0)
    ids = torch.tensor([[0, 5, 6, 2], [0, 5, 6, 2]])
    with reading(headed, np.array([0, 1])):
        both: Tensor = headed.module(ids, None, None)
    with reading(headed, np.array([1, 1])):
        english: Tensor = headed.module(ids, None, None)
    assert torch.allclose(both[1], english[1], atol=1e-6)
    assert not torch.allclose(both[0], english[0], atol=1e-3)
    torch.testing.assert_close(headed.module(ids, None, None), english)


def test_adapters_and_embeddings_are_not_trained(xmod: Checkpoint) -> None:
    """So what is learned with English's works with German's; everything else learns."""
    headed = new_headed(xmod, HEAD, seed=1, device="cpu")
    frozen = {name for name, value in headed.module.named_parameters() if not value.requires_grad}
    every = {name for name, _ in headed.module.named_parameters()}
    assert frozen == {name for name in every if ".embeddings." in name or ".adapter_modules." in name}
    assert len(frozen) > 4
    plain = new_headed(replace(xmod, adapter=None), HEAD, seed=1, device="cpu")
    assert all(value.requires_grad for value in plain.module.parameters())


def test_vectors_are_kept_apart_by_the_adapter_that_read_them(xmod: Checkpoint, tmp_path: Path) -> None:
    """Languages that share an adapter share vectors."""
    encoder = load_encoder(xmod, device="cpu", dtype="float32")
    space = Space(layer=2, pooling="mean", special_tokens=True, normalise=False, max_length=64)
    stores = open_stores(tmp_path, encoder, [space], dtype="float32", device="cpu")
    embedder = Embedder(encoder=encoder, stores=stores, batch_tokens=256)
    texts = ["The dog sleeps.", "Der Hund schläft."]
    for language in ("en", "de", "yo"):
        embedder.embed(texts, embedder.tokenise(texts), language=language)
    assert embedder.work.sentences == 4
    english, german, yoruba = (
        stores[space].get(embedder.keys(texts, language))[0] for language in ("en", "de", "yo")
    )
    np.testing.assert_array_equal(english, yoruba)
    assert np.abs(english - german).max() > 0.01
    assert embedder.missing(embedder.keys(texts, "zh"))


def test_languages_of_the_published_model() -> None:
    """Of facebook/xmod-base's list a part, in its order."""
    names = ["en_XX", "id_ID", "no_XX", "zh_CN", "he_IL", "zh_TW", "tl_XX", "xx_XX"]
    found = xmod_languages({"languages": names})
    assert dict(found.numbers) == {"en": 0, "id": 1, "no": 2, "zh": 3, "he": 4, "tl": 6}
    assert found.parts == tuple(names)
    assert (found.number("he"), found.number("yo"), found.number("")) == (4, 0, 0)
    assert found.caveats("he") == ()
    assert found.caveats("yo") == ("the model has no part for 'yo'; it was read with that of en_XX",)
    assert xmod_languages({"languages": names, "default_language": "zh_CN"}).default == 3
    assert xmod_languages({"languages": ["fr_XX", "de_DE"]}).default == 0
    assert xmod_languages({}).parts == ("en_XX",)


def test_a_default_that_is_no_adapter_is_told(xmod: Checkpoint) -> None:
    odd = replace(xmod, adapter=None, config={**xmod.config, "default_language": "sw_KE"})
    with pytest.raises(ModelError, match=r"config\.json: encoder 'xmod' cannot read it .*sw_KE is none of"):
        adapted(odd, XMOD)


def test_an_adapter_makes_another_model_of_a_checkpoint(xmod: Checkpoint) -> None:
    """To caches, so that vectors made without it, or with another version, are not taken for its own."""
    plain = open_checkpoint(str(xmod.folder))
    newer = adapted(plain, replace(XMOD, version=2))
    assert len({plain.weights, xmod.weights, newer.weights}) == 3
    assert adapted(plain, None) is plain
    assert adapted(xmod, XMOD) is xmod
    assert plain.languages is None


def test_a_switch_expert_takes_its_capacity_of_each_row(sample_model: Path, tmp_path: Path) -> None:
    """Forty tokens for two experts that take three each: most pass by, the same ones alone and in company."""
    checkpoint = make("SwitchTransformers", SWITCH_MODEL, sample_model, tmp_path / "m", SWITCH)
    headed = new_headed(checkpoint, TOKENS, seed=1, device="cpu")
    ids = torch.randint(3, 3000, (6, 40), generator=torch.Generator().manual_seed(1))
    routed: list[Tensor] = []
    for part in headed.module.modules():
        if type(part).__name__ == "SwitchTransformersTop1Router":
            part.register_forward_hook(lambda module, args, output: routed.append(output[0].sum(dim=(1, 2))))
    headed.module.eval()
    with torch.inference_mode():
        together = headed.module(ids, None, None)
        alone = torch.cat([headed.module(row[None], None, None) for row in ids])
        padded = headed.module(
            torch.cat([ids, torch.ones(6, 8, dtype=torch.int64)], dim=1),
            torch.cat([torch.ones(6, 40), torch.zeros(6, 8)], dim=1).long(),
            None,
        )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, padded[:, :40], atol=1e-5, rtol=1e-5)
    assert int(routed[0].max()) <= 6


def nllb(sample_model: Path, target: Path, **changes: Any) -> Headed:
    """A head over a tiny NLLB-MoE encoder."""
    checkpoint = make("NllbMoe", {**NLLB_MODEL, **changes}, sample_model, target, NLLB_MOE)
    return new_headed(checkpoint, TOKENS, seed=1, device="cpu", dropout=0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expert_capacity": 2, "moe_eval_capacity_token_fraction": -1.0},
        {"moe_eval_capacity_token_fraction": 0.1},
        {"second_expert_policy": "sampling"},
        {"second_expert_policy": "random"},
    ],
)
def test_no_capacity_of_nllb_moe_hangs_on_the_batch(
    sample_model: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Whatever its configuration says of capacity and chance, a row alone is what it is in company."""
    headed = nllb(sample_model, tmp_path / "m", **changes)
    ids = torch.randint(3, 3000, (6, 40), generator=torch.Generator().manual_seed(1))
    headed.module.eval()
    with torch.inference_mode():
        together = headed.module(ids, None, None)
        alone = torch.cat([headed.module(row[None], None, None) for row in ids])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_training_nllb_moe_does_not_hang_on_what_was_evaluated_before(
    sample_model: Path, tmp_path: Path
) -> None:
    """transformers' router remembers the capacity of the last batch that it evaluated."""
    headed = nllb(sample_model, tmp_path / "m", expert_capacity=2)
    ids = torch.randint(3, 3000, (6, 40), generator=torch.Generator().manual_seed(1))
    headed.module.train()
    before = headed.module(ids, None, None)
    halves = torch.cat([headed.module(half, None, None) for half in (ids[:1], ids[1:])])
    headed.module.eval()
    headed.module(ids[:1, :2], None, None)
    headed.module.train()
    torch.testing.assert_close(headed.module(ids, None, None), before)
    torch.testing.assert_close(halves, before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("stem", "settings", "adapter"),
    [("SwitchTransformers", SWITCH_MODEL, SWITCH), ("NllbMoe", NLLB_MODEL, NLLB_MOE)],
)
def test_every_expert_and_the_router_learn(
    sample_model: Path, tmp_path: Path, stem: str, settings: dict[str, Any], adapter: EncoderAdapter
) -> None:
    """From the task's loss alone."""
    headed = new_headed(
        make(stem, settings, sample_model, tmp_path / "m", adapter), TOKENS, seed=1, device="cpu"
    )
    headed.module.train()
    ids = torch.randint(3, 3000, (16, 40), generator=torch.Generator().manual_seed(1))
    headed.module(ids, None, None).pow(2).sum().backward()
    idle = {name for name, value in headed.module.named_parameters() if value.grad is None}
    assert idle == set()
    router = [value for name, value in headed.module.named_parameters() if "router" in name]
    assert router
    assert all(value.grad is not None and bool(value.grad.any()) for value in router)


OTHER = """
from harness import hookimpl
from harness.encoders import EncoderAdapter

def halve(module, least_rows):
    import torch
    with torch.no_grad():
        for name, value in module.named_parameters():
            if name.endswith("word_embeddings.weight") and not getattr(value, "halved", False):
                value.mul_(0.5)
                value.halved = True

@hookimpl
def harness_encoders():
    return [EncoderAdapter(name="halved-bert", model_types=("bert",), prepare=halve, notes="Half a BERT.")]
"""


def written(folder: Path, text: str, name: str = "other") -> str:
    """A plugin as a file."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_plugin_may_bring_an_adapter(
    sample_model: Path, tmp_path: Path, cli: Callable[..., Any], isolated: Callable[..., Path]
) -> None:
    """It is found by model type, used for vectors and heads, and listed."""
    path = written(tmp_path, OTHER)
    catalog = load_catalog([path])
    found = catalog.encoder("bert")
    assert found is not None
    assert found.name == "halved-bert"
    assert catalog.encoder("gpt2") is None
    settings = {name: XMOD_MODEL[name] for name in ("vocab_size", "hidden_size", "num_attention_heads")}
    checkpoint = make(
        "Bert", {**settings, "num_hidden_layers": 1, "pad_token_id": 1}, sample_model, tmp_path / "m", found
    )
    plain = replace(checkpoint, adapter=None)
    for module, other in (
        (load_encoder(given, device="cpu", dtype="float32").model for given in (checkpoint, plain)),
        (new_headed(given, HEAD, seed=1, device="cpu").module for given in (checkpoint, plain)),
    ):
        ours, theirs = (
            next(v for n, v in part.named_parameters() if n.endswith("word_embeddings.weight"))
            for part in (module, other)
        )
        assert torch.equal(ours, theirs * 0.5)
    (entry,) = (plugin for plugin in catalog.plugins if plugin.module == path)
    assert entry.encoders == ("halved-bert",)
    assert "encoders halved-bert" in cli("plugins", "list", "-p", path).out
    told = json.loads(cli("plugins", "list", "-p", path, "--json").out)
    assert next(plugin for plugin in told if plugin["module"] == path)["encoders"] == ["halved-bert"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("return [1]", "harness_encoders gave int 1, not EncoderAdapter"),
        ("return [EncoderAdapter(name='a', model_types=())]", "model_types must name at least one"),
        ("return [EncoderAdapter(name='A b', model_types=('x',))]", "lower-case"),
        ("return [EncoderAdapter(name='a', model_types=('x',), version=0)]", "version 0"),
        (
            "return [EncoderAdapter(name='a', model_types=('x',)), EncoderAdapter(name='b', model_types=('x',))]",
            "encoder 'b' is for model type 'x', which encoder 'a' has already",
        ),
        (
            "return [EncoderAdapter(name='a', model_types=('x',)), EncoderAdapter(name='a', model_types=('y',))]",
            "encoder 'a' is given twice",
        ),
    ],
)
def test_what_is_wrong_with_an_adapter_is_told(tmp_path: Path, text: str, words: str) -> None:
    head = "from harness import hookimpl\nfrom harness.encoders import EncoderAdapter\n"
    path = written(tmp_path, f"{head}@hookimpl\ndef harness_encoders():\n    {text}\n")
    with pytest.raises(PluginError, match=words):
        load_catalog([path])


def test_adapters_are_values_that_need_no_torch() -> None:
    """Looking at plugins stays quick."""
    code = "import sys, harness_encoders.adapters as a; assert len(a.harness_encoders()) == 5; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    assert all(adapter.notes for adapter in harness_encoders())
    with pytest.raises(SpecError):
        replace(XMOD, name="X")
