"""Encoders that are made from nothing: the text that names one, its tokenizer, its weights, and what it is trained with."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import DataError, UsageError
from harness.newmodels import NewModel, folder_name, is_new, new_model

Cli = Callable[..., Any]
SMALL = "new:layers=2,hidden=32,vocabulary=600,tokens=64,languages=de+en"


@settings(deadline=None)
@given(
    st.builds(
        NewModel,
        layers=st.integers(1, 40),
        hidden=st.sampled_from([64, 128, 384]),
        heads=st.sampled_from([1, 2, 4, 8]),
        vocabulary=st.integers(300, 10**6),
        tokens=st.integers(16, 4096),
        text=st.sampled_from(["mlm", "my_text"]),
        languages=st.lists(st.sampled_from(["de", "en", "sw", "zh"]), unique=True).map(tuple),
        apart=st.lists(st.sampled_from(["xtreme", "tatoeba"]), unique=True).map(tuple),
        seed=st.integers(0, 2**40),
    )
)
def test_the_text_of_a_new_model_names_it(model: NewModel) -> None:
    assert is_new(str(model))
    assert new_model(str(model)) == model


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("new:layers=0", "new:layers=0: give a whole number from 1 to 256"),
        ("new:layers=two", "new:layers=two: give a whole number from 1 to 256"),
        ("new:layers=-1", "new:layers=-1: give a whole number from 1 to 256"),
        ("new:layers=1e1", "new:layers=1e1: give a whole number from 1 to 256"),
        (f"new:layers={'9' * 5000}", "give a whole number from 1 to 256"),
        ("new:seed=-1", "new:seed=-1: give a whole number from 0 to 2^63 - 1"),
        ("new:hidden=100,heads=3", "heads=3: must divide hidden=100"),
        ("new:depth=4", "'depth=4' is not allowed"),
        ("new:layers", "'layers' is not allowed"),
        ("new:layers=2,layers=3", "layers is given twice, as 2 and 3"),
        (
            "new:languages=xx1+en",
            "new:languages=xx1+en: 'xx1' is no language code; give ISO 639-1 or 639-3 codes",
        ),
        ("new:languages=+", "new:languages=+: '' is no language code"),
        ("new:languages=available", "leave languages out for all that the data has"),
        (
            "new:languages=de,en",
            "'en' is not allowed; several languages are joined by +, e.g. languages=de+en",
        ),
        ("new:apart=panx,xnli", "several tasks are joined by +, e.g. apart="),
        ("new:apart=+", "new:apart=+: name tasks or suites joined by +, e.g. apart=xtreme"),
        ("new:tokens=16+bidirectional", "+bidirectional is for decoders"),
        ("new:layers=256,hidden=65536", "has 13,195,196,497,920 parameters, 20,000,000,000 are allowed"),
    ],
    ids=lambda text: text[:40],
)
def test_a_wrong_text_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        new_model(text)
    assert told in str(caught.value)


def test_blanks_around_a_part_its_sign_and_several_names_do_not_count() -> None:
    assert new_model("new: layers = 2 ,languages = de + en") == NewModel(layers=2, languages=("de", "en"))


def test_an_encoder_of_nothing_but_defaults_has_a_name_that_can_be_read() -> None:
    assert str(new_model("new:")) == "new:vocabulary=16000"


def test_an_encoder_of_a_usual_size_is_allowed() -> None:
    assert new_model("new:layers=48,hidden=5120,heads=64,vocabulary=250000,tokens=512").layers == 48


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("new:layers=1,hidden=32", "new-layers1-hidden32"),
        ("new:languages=de+en,apart=*qa", "new-languagesde-en-apart-qa"),
    ],
)
def test_a_folder_is_named_after_all_sizes_in_plain_characters(text: str, name: str) -> None:
    assert folder_name(text) == name


def test_the_name_of_a_folder_is_not_too_long() -> None:
    codes = "+".join(f"{code}" for code in ("de", "en", "sw", "zh") * 40)
    assert len(folder_name(f"new:languages={codes}")) <= 80


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    """The built-in plain text in three scripts."""
    from harness import sources
    from harness.registry import load_catalog
    from harness.sources import DataLocation

    task, location = load_catalog(others=False).task("mlm"), DataLocation(kind="sample")
    return {
        code: [
            task.format.texts(example)[0] for example in sources.read(task, code, "train", location).examples
        ]
        for code in ("ar", "en", "zh")
    }


def test_the_same_texts_give_the_same_tokenizer(texts: dict[str, list[str]]) -> None:
    from harness.engine.new_model import learned_tokenizer

    first = learned_tokenizer(texts, 700).to_str()
    turned = dict(reversed(texts.items()))
    assert first == learned_tokenizer(turned, 700).to_str()
    assert first != learned_tokenizer({**texts, "en": texts["en"][1:]}, 700).to_str()


def test_the_tokenizer_loses_nothing_but_the_rarest_characters(texts: dict[str, list[str]]) -> None:
    from harness.engine.new_model import MASK, UNKNOWN, learned_tokenizer

    tokenizer = learned_tokenizer(texts, 700)
    assert [tokenizer.token_to_id(token) for token in ("<s>", "<pad>", "</s>", UNKNOWN, MASK)] == [
        0,
        1,
        2,
        3,
        4,
    ]
    unknown = pieces = 0
    for line in (line for lines in texts.values() for line in lines):
        encoding = tokenizer.encode(line, add_special_tokens=False)
        unknown += encoding.ids.count(3)
        pieces += len(encoding.ids)
        if 3 not in encoding.ids:
            plain = unicodedata.normalize("NFKC", line)
            assert "".join(tokenizer.decode(encoding.ids).split()) == "".join(plain.split())
    assert unknown < 0.01 * pieces
    pair = tokenizer.encode(texts["en"][0], texts["zh"][0]).tokens
    assert (pair[0], pair[-1], pair.count("</s>")) == ("<s>", "</s>", 3)


def test_a_language_with_little_text_is_read_more_often(texts: dict[str, list[str]]) -> None:
    from harness.engine.new_model import _times

    assert _times({"en": texts["en"], "zh": texts["zh"][:2]})["zh"] > 1
    assert _times({"en": texts["en"]}) == {"en": 1}
    assert _times({"en": texts["en"], "zh": []}) == {"en": 1}


def test_weights_follow_from_the_seed_and_leave_torch_as_it_was(
    texts: dict[str, list[str]], tmp_path: Path
) -> None:
    import torch

    from harness.checkpoints import open_checkpoint
    from harness.engine.new_model import build_new_model

    model = NewModel(layers=1, hidden=16, heads=2, vocabulary=700, tokens=32)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for name, one in (("a", model), ("b", model), ("c", replace(model, seed=1))):
        build_new_model(one, texts, tmp_path / name)
    assert torch.equal(before, torch.get_rng_state())
    a, b, c = (open_checkpoint(str(tmp_path / name)) for name in "abc")
    assert a.weights == b.weights
    assert a.weights != c.weights
    assert a.tokenizer == c.tokenizer
    assert a.config["max_position_embeddings"] == 34
    assert a.config["vocab_size"] == 700


def test_too_little_text_is_told(texts: dict[str, list[str]], tmp_path: Path) -> None:
    from harness.engine.new_model import build_new_model

    with pytest.raises(DataError, match="not 60000; give more text, or new:vocabulary="):
        build_new_model(NewModel(vocabulary=60_000), texts, tmp_path / "large")


def test_a_new_model_is_made_once_trained_and_evaluated(cli: Cli, isolated: Any, tmp_path: Path) -> None:
    home = isolated()
    folder = tmp_path / "ckpt"
    train = (
        f"train -m {SMALL} -t tlm --mlm-share 0.3 --mlm-languages de --data sample --device cpu -o {folder}"
    )
    train += " --hyper max_steps=6 --hyper evaluate_every=2 --hyper batch_size=8 --hyper learning_rate=1e-3"
    train += " --hyper max_length=64 --overwrite"
    done = cli(*train.split())
    assert done.code == 0, done.err
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert told["parent"]["name"] == SMALL
    assert [entry["step"] for entry in told["held_out"]] == [0, 2, 4, told["steps"]]
    assert {name for entry in told["held_out"] for name in entry["losses"]} == {"tlm/dev", "mlm/dev"}
    first, last = told["held_out"][0]["losses"], told["held_out"][-1]["losses"]
    assert all(last[name] < first[name] for name in first)
    # The last look is the score that training.json gives beside it.
    assert {f"{dev['task']}/{dev['split']}": dev["value"] for dev in told["dev"]} == last
    made = [path.name for path in (home / "models").resolve().glob("new-*[0-9a-f]")]
    again = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "--device", "cpu")
    assert again.code == 0, again.err
    baseline = cli("eval", "-m", SMALL, "-t", "tatoeba", "-l", "de", "--data", "sample", "--device", "cpu")
    assert baseline.code == 0, baseline.err
    assert made == [path.name for path in (home / "models").resolve().glob("new-*[0-9a-f]")]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("new:languages=fi", "mlm/train has no text for fi; there is ar, de, en, es, sw, zh"),
        (
            "new:text=mnli",
            "new:text=mnli: no masked-LM task, whose plain text could be learned from; there are mlm, tlm",
        ),
        (
            "new:text=nothing",
            "new:text=nothing: no masked-LM task, whose plain text could be learned from; there are mlm",
        ),
        ("new:apart=nothing", "new:apart=nothing: unknown task 'nothing'"),
        (
            "new:apart=tl*",
            "new:apart=tl*: 'tl*' names no task that is scored; name tasks or suites, e.g. xtreme",
        ),
        ("new:apart=+", "new:apart=+: name tasks or suites"),
        ("new:", "harness: new:vocabulary=16000: the texts give "),
        ("new:hidden=10", "heads=4: must divide hidden=10"),
    ],
)
def test_a_new_model_that_cannot_be_made_is_one_line(cli: Cli, model: str, told: str) -> None:
    done = cli("eval", "-m", model, "-t", "tatoeba", "-l", "de", "--data", "sample")
    assert done.code == 2
    assert told in done.complaint
    assert len(done.err.strip().splitlines()) == 1


def test_a_new_model_has_no_revision(cli: Cli) -> None:
    done = cli(
        "eval", "-m", SMALL, "-t", "tatoeba", "-l", "de", "--data", "sample", "--model-revision", "main"
    )
    assert done.code == 2
    assert done.complaint.startswith("harness: --model-revision main: new:layers=2,")


def test_the_folder_of_a_run_is_named_after_its_new_model(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli(
        "eval", "-m", SMALL, "-t", "tatoeba", "-l", "de", "--data", "sample", "--device", "cpu", "--dry-run", "--json"
    )  # fmt: skip
    assert done.code == 0, done.err
    name = "new-layers2-hidden32-vocabulary600-tokens64-languagesde-en"
    assert re.fullmatch(f"runs/{name}-[0-9a-f]{{8}}", json.loads(done.out)["folder"])


def test_a_recipe_names_a_new_model(cli: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"""
title: t
question: q
models: [{{model: "{SMALL}", name: tiny}}]
settings:
  - name: none
  - {{name: text, stages: [{{tasks: [mlm], hyper: {{max_steps: 2, batch_size: 4, warmup: 0}}}}]}}
targets: [tatoeba]
languages: [de]
""",
        encoding="utf-8",
    )
    done = cli("run", recipe, "--data", "sample", "--device", "cpu", "-o", tmp_path / "x", "--dry-run")
    assert done.code == 0, done.err
    assert "tiny · text · seed 0" in done.out
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("hidden=32", "hidden=34"), encoding="utf-8")
    wrong = cli("run", recipe, "--data", "sample", "-o", tmp_path / "y", "--dry-run")
    assert wrong.code == 2
    assert "mine.yaml" in wrong.complaint
    assert "must divide" in wrong.complaint
