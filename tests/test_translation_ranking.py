"""Translation ranking: the loss against other people's, whatever the micro-batches; what is learned, written and told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_encoders.adapters import XMOD
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel

from harness import ModelError, sources
from harness.checkpoints import Checkpoint, adapted, open_checkpoint
from harness.engine.headed import Headed
from harness.engine.multi import open_heads
from harness.engine.pooling import pool
from harness.engine.ranking import RankedPairs, held_out_loss, ranking_loss
from harness.engine.train import Hooks, Trainer
from harness.formats.base import Head
from harness.formats.bitexts import BitextRows, Bitexts
from harness.formats.drawn import Text
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.spec import Schedule

VECTOR = Head(kind="vector")
SAMPLE = DataLocation(kind="sample")
Tiny = Callable[..., Checkpoint]
Cli = Callable[..., Any]


def drawn_vectors(pairs: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(2 * pairs, 8, generator=generator), dim=-1)


def by_hand(vectors: Tensor, texts: Sequence[int], temperature: float, margin: float) -> float:
    """The loss in plain Python: over each text's candidates that are no other translations of it."""
    pairs = len(texts) // 2
    total = 0.0
    for one, other in ((0, pairs), (pairs, 0)):
        for item in range(pairs):
            scores = {}
            for candidate in range(pairs):
                first = texts[item] == texts[candidate]
                second = texts[pairs + item] == texts[pairs + candidate]
                if candidate == item or not (first or second):
                    cosine = float(vectors[one + item].double() @ vectors[other + candidate].double())
                    scores[candidate] = (cosine - margin * (candidate == item)) / temperature
            total += math.log(sum(math.exp(score) for score in scores.values())) - scores[item]
    return total / 2


@pytest.mark.parametrize(("temperature", "margin"), [(0.05, 0.0), (0.1, 0.3), (1.0, 0.0)])
@pytest.mark.parametrize(
    "texts",
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        # The first English text has two translations, and two English texts have one.
        [0, 0, 2, 3, 4, 5, 6, 7, 8, 8],
        # One pair twice.
        [0, 1, 2, 3, 0, 5, 6, 7, 8, 5],
    ],
)
def test_the_loss_by_hand(texts: list[int], temperature: float, margin: float) -> None:
    vectors = drawn_vectors(5)
    found = ranking_loss(vectors, torch.tensor(texts), temperature=temperature, margin=margin)
    assert float(found) == pytest.approx(by_hand(vectors, texts, temperature, margin), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 0.2])
def test_the_loss_and_gradient_of_sentence_transformers(temperature: float) -> None:
    """Its multiple-negatives loss in both directions is this one without a margin and without texts that are the same."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    unused: Any = None
    theirs = MultipleNegativesRankingLoss(
        model=unused,
        scale=1 / temperature,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    mine, other = (drawn_vectors(6, seed=3).requires_grad_() for _ in range(2))
    expected = theirs.compute_loss_from_embeddings([other[:6], other[6:]], unused)
    found = ranking_loss(mine, torch.arange(12), temperature=temperature) / 6
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = [torch.autograd.grad(*pair)[0] for pair in ((found, mine), (expected, other))]
    # Theirs brings vectors to length 1 itself, so that its gradient has no part along them.
    along = (gradients[0] * mine).sum(dim=1, keepdim=True) * mine
    torch.testing.assert_close(gradients[0] - along, gradients[1], atol=1e-5, rtol=1e-4)


# The lesson


@pytest.fixture(scope="module")
def pairs() -> list[Any]:
    """Some built-in pairs in three languages."""
    task = load_catalog(others=False).task("translation_ranking")
    return [
        pair
        for language, count in (("de", 5), ("es", 4), ("sw", 3))
        for pair in sources.read(task, language, "train", SAMPLE).examples[:count]
    ]


def opened(checkpoint: Checkpoint) -> Headed:
    return open_heads(checkpoint, [VECTOR], seed=0, device="cpu", dropout=0.0).headed[VECTOR]


def rows_of(headed: Headed, examples: Sequence[Any]) -> BitextRows:
    return Bitexts().encode(examples, headed.tokenizer, 40)


def lesson_of(headed: Headed, examples: Sequence[Any], **changes: Any) -> RankedPairs:
    ranked = Bitexts(group=changes.pop("group", 3))
    given: dict[str, Any] = {"batch_size": 7, "epochs": 1.0, "alpha": 0.3, **changes}
    return RankedPairs(headed=headed, rows=rows_of(headed, examples), ranked=ranked, **given)


def plain(model: Any, rows: BitextRows, chosen: Any) -> Tensor:
    """Rows through transformers' own model, one by one: mean of the last states, length 1."""
    found = []
    for row in chosen:
        ids = torch.from_numpy(rows.ids[rows.starts[row] : rows.starts[row + 1]].astype(np.int64))[None]
        found.append(model(input_ids=ids).last_hidden_state[0].mean(dim=0))
    return nn.functional.normalize(torch.stack(found), dim=-1)


@pytest.mark.parametrize("family", ["xlm-roberta", "bert", "modernbert", "xmod", "deberta-v2"])
def test_loss_and_gradients_do_not_hang_on_micro_batches(
    tiny_model: Tiny, pairs: list[Any], family: str
) -> None:
    """They are those of each row by itself through transformers' model, divided among processes or not."""
    checkpoint = tiny_model(family)
    oracle: Any = AutoModel.from_pretrained(checkpoint.folder).eval()
    headed = opened(checkpoint)
    headed.module.train()
    if family == "xmod":
        oracle.set_default_language("en_XX")
        pairs = [replace(pair, language="en") for pair in pairs]
    lesson = lesson_of(headed, pairs)
    step = lesson.draw(1, 3)
    assert step.sizes.tolist() == [6, 4, 4]
    ends = np.cumsum(step.sizes)
    groups = [step.rows[end - size : end] for end, size in zip(ends, step.sizes, strict=True)]
    losses = [
        ranking_loss(
            plain(oracle, lesson.rows, rows), torch.from_numpy(lesson.rows.text[rows]), temperature=0.05
        )
        for rows in groups
    ]
    expected: Any = torch.stack(losses).sum() / 7
    expected.backward()
    wanted = {name: value.grad for name, value in oracle.named_parameters() if value.grad is not None}
    for budget, ranks in ((1, 1), (200, 1), (10**6, 1), (10**6, 2), (1, 3)):
        headed.module.zero_grad()
        total = 0.0
        for rank in range(ranks):
            for places in step.micro(budget, rank, ranks):
                part: Any = lesson.loss(step, places) / step.scored
                part.backward()
                total += float(part.detach())
        assert total == pytest.approx(float(expected.detach()), abs=3e-5)
        found = {
            name.removeprefix("encoder."): value.grad
            for name, value in headed.module.named_parameters()
            if value.grad is not None
        }
        assert set(found) == set(wanted)
        for name, value in found.items():
            torch.testing.assert_close(value, wanted[name], atol=2e-5, rtol=1e-3, msg=f"{family} {name}")


def test_a_model_with_parts_reads_each_side_with_its_own(tiny_model: Tiny, pairs: list[Any]) -> None:
    headed = opened(adapted(tiny_model("xmod"), XMOD))
    lesson = lesson_of(headed, [replace(pair, language="de") for pair in pairs])
    step = lesson.draw(0, 0)
    reader = headed.row_reader
    assert step.parts is not None
    assert reader is not None
    english, german = (reader.languages.number(code) for code in ("en", "de"))
    assert english != german
    assert step.parts.tolist() == [english, german] * len(pairs)


def test_what_is_learned_is_what_retrieval_reads(tiny_model: Tiny, pairs: list[Any]) -> None:
    headed = opened(tiny_model("xlm-roberta"))
    headed.module.eval()
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(10, 60, (4, 9), generator=generator)
    mask = (torch.arange(9) < torch.tensor([9, 4, 1, 7])[:, None]).long()
    for given_mask in (mask, None):
        states = headed.encoder(input_ids=ids, attention_mask=given_mask).last_hidden_state
        kept = None if given_mask is None else given_mask.bool()
        expected = nn.functional.normalize(pool(states, kept, "mean"), dim=-1)
        torch.testing.assert_close(headed.module(ids, given_mask, None), expected)


def test_a_step_follows_from_seed_and_number_alone(tiny_model: Tiny, pairs: list[Any]) -> None:
    headed = opened(tiny_model("xlm-roberta"))
    lesson, again = (lesson_of(headed, pairs) for _ in range(2))
    assert (lesson.steps_per_epoch, lesson.steps) == (2, 2)
    first = lesson.draw(0, 5).rows.tolist()
    assert again.draw(3, 5).rows.tolist() != first
    assert again.draw(0, 5).rows.tolist() == first
    assert lesson.draw(0, 6).rows.tolist() != first


def test_the_loss_of_vectors_that_are_all_alike_is_that_of_guessing(
    tiny_model: Tiny, pairs: list[Any]
) -> None:
    headed = opened(tiny_model("xlm-roberta"))
    with torch.no_grad():
        for value in headed.module.parameters():
            value.zero_()
        headed.encoder.embeddings.LayerNorm.bias.fill_(1)
        headed.encoder.encoder.layer[-1].output.LayerNorm.bias.fill_(1)
    rows = rows_of(headed, pairs)
    # Twelve pairs in four groups of three.
    assert held_out_loss(headed, rows, 100, Bitexts(group=3)) == pytest.approx(math.log(3), rel=1e-5)


def test_learning_tells_held_out_translations_apart(tiny_model: Tiny, tmp_path: Path) -> None:
    """Of words that stand for each other: pairs that were never learned are told apart better than by chance."""
    headed = opened(tiny_model("xlm-roberta"))
    words = "cat dog house tree water bread king night river stone child road".split()
    others = "Katze Hund Haus Baum Wasser Brot König Nacht Fluss Stein Kind Weg".split()
    generator = np.random.default_rng(0)
    drawn = [generator.choice(12, size=4, replace=False) for _ in range(90)]
    examples = [
        Text(
            id=str(number),
            text=" ".join(words[place] for place in places),
            other=" ".join(others[place] for place in places),
            language="de",
        )
        for number, places in enumerate(drawn)
    ]
    held = rows_of(headed, examples[64:])
    before = held_out_loss(headed, held, 500, Bitexts(group=13))
    Trainer(
        lessons=[lesson_of(headed, examples[:64], epochs=15.0, batch_size=16, group=16)],
        schedule=Schedule(epochs=15, batch_size=16, learning_rate=3e-3, warmup=0.1),
        seed=0,
        dtype="float32",
        folder=tmp_path,
        micro_tokens=2_000,
    ).run()
    after = held_out_loss(headed, held, 500, Bitexts(group=13))
    assert after < min(before, math.log(13)) / 2


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    tiny_model: Tiny, pairs: list[Any], tmp_path: Path
) -> None:
    """Stopped behind every step but the last, each time begun again with a new model: the same bits in the end."""

    def trained(folder: str, **more: Any) -> dict[str, Tensor]:
        models = open_heads(tiny_model("xlm-roberta"), [VECTOR], seed=0, device="cpu", dropout=0.3)
        headed = models.headed[VECTOR]
        schedule = Schedule(epochs=2, batch_size=6, learning_rate=1e-3, warmup=0)
        lesson = lesson_of(headed, pairs, batch_size=6, epochs=2.0)
        given: dict[str, Any] = {"lessons": [lesson], "schedule": schedule, "seed": 4, "dtype": "float32"}
        Trainer(**given, folder=tmp_path / folder, micro_tokens=60, save_seconds=0.0, **more).run()
        return {name: tensor.clone() for name, tensor in headed.encoder.state_dict().items()}

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    whole = trained("whole")
    found: dict[str, Tensor] = {}
    stops = 0
    while not found and stops < 20:
        try:
            found = trained("work", hooks=Hooks(stepped=stop))
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 3
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())


# The road


QUICK = "--hyper max_steps=3 --hyper batch_size=8 --hyper warmup=0 --device cpu".split()
MORE = "--hyper max_steps=12 --hyper batch_size=8 --hyper warmup=0 --device cpu".split()


def test_from_the_command_line_to_a_later_stage(cli: Cli, tmp_path: Path) -> None:
    """A checkpoint without new weights, whose retrieval is scored, and which a later training watches."""
    folder, later = tmp_path / "one", tmp_path / "two"
    task = "-t translation_ranking --mlm-languages de,sw --data sample".split()
    done = cli("train", "-m", "sample", *task, *QUICK, "-o", folder)
    assert done.code == 0, done.err
    assert "dev translation_ranking/dev: translation_ranking_loss " in done.out
    assert " nats (n " in done.out
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert told["courses"][0]["head"] == {"kind": "vector", "labels": [], "fresh": False}
    assert told["courses"][0]["language"] == "de,sw"
    assert [set(entry["losses"]) for entry in told["held_out"]] == [{"translation_ranking/dev"}] * 2
    (head,) = (folder / "heads").iterdir()
    assert load_file(head / "head.safetensors") == {}
    scored = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "--device", "cpu")
    assert scored.code == 0, scored.err
    more = cli("train", "-m", folder, "-t", "mnli", "--data", "sample", *QUICK, "-o", later)
    assert more.code == 0, more.err
    told = json.loads((later / "training.json").read_text(encoding="utf-8"))
    assert [entry["metric"] for entry in told["dev"]] == ["translation_ranking_loss", "accuracy"]
    assert told["dev"][0]["languages"] == ["de", "sw"]
    lineage = cli("lineage", later)
    assert "dev translation_ranking/dev: translation_ranking_loss" in lineage.out


def test_it_is_learned_beside_masked_lm(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    task = (
        "-t translation_ranking,mnli --mlm-share 0.3 --mlm-tasks mlm --mlm-languages de --data sample".split()
    )
    done = cli("train", "-m", "sample", *task, *MORE, "-o", folder)
    assert done.code == 0, done.err
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert [course["task"] for course in told["courses"]] == ["translation_ranking", "mnli", "mlm"]
    assert len(list((folder / "heads").iterdir())) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "-t translation_ranking --mlm-languages en",
            "language 'en' of what is learned is no language of translation_ranking",
        ),
        (
            "-t mnli --mlm-share 0.1 --mlm-tasks translation_ranking",
            "task 'translation_ranking' is no masked-LM task, so it cannot be mixed in as one; there are mlm, tlm",
        ),
    ],
)
def test_what_cannot_be_learned_so(cli: Cli, arguments: str, told: str) -> None:
    done = cli("train", "-m", "sample", *arguments.split(), "--data", "sample", "--device", "cpu")
    assert (done.code, told in done.err) == (2, True), done.err


def test_a_wrong_setting_is_told_before_anything_is_trained(cli: Cli, tmp_path: Path) -> None:
    task = "-t mnli,translation_ranking --schedule sequential --set translation_ranking.groop=8".split()
    done = cli("train", "-m", "sample", *task, "--data", "sample", *QUICK, "-o", tmp_path / "x")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "harness: settings of task 'translation_ranking': no setting 'groop' here; there are group, temperature, margin, "
        "alpha\n"
    )


RECIPE = """title: T
question: Q
models: [sample]
settings:
  - name: both
    stages:
      - tasks: [mnli]
      - tasks: [translation_ranking]
        mlm: {share: 0.2, tasks: [mlm, tlm], languages: [de, en, sw]}
        set: {translation_ranking: {group: 8, temperature: 0.1}, tlm: {share: 0.3}}
targets: [tatoeba]
"""


def test_a_recipe_sets_and_english_is_no_lack_of_pairs(cli: Cli, tmp_path: Path) -> None:
    """English is no language of pairs; it may stand in a list for text and pairs."""
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    done = cli("run", tmp_path / "r.yaml", "--data", "sample", "--dry-run")
    assert done.code == 0, done.err
    assert "no data" not in done.out


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "group: 8",
            "groop: 8",
            "set.translation_ranking.groop': settings of task 'translation_ranking': no setting",
        ),
        (
            "group: 8",
            "group: 1",
            "set.translation_ranking.group': settings of task 'translation_ranking': group=1: must be",
        ),
        ("group: 8", "group: [8]", "set.translation_ranking.group': "),
        ("tlm: {share: 0.3}", "copa: {share: 0.3}", "set.copa': found unknown task 'copa'"),
        ("tlm: {share: 0.3}", "tlm: 0.3", "set.tlm': "),
    ],
)
def test_a_recipe_that_sets_wrongly_is_told_by_line(
    cli: Cli, tmp_path: Path, old: str, new: str, told: str
) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.replace(old, new), encoding="utf-8")
    done = cli("run", tmp_path / "r.yaml", "--data", "sample", "--dry-run")
    assert done.code == 2
    assert f"r.yaml, line 10, key 'settings[0].stages[1].{told}" in done.err


def test_a_setting_is_told_wherever_changes_are(cli: Cli, tmp_path: Path) -> None:
    task = "-t translation_ranking --set translation_ranking.group=4 --data sample".split()
    plan = cli("train", "-m", "sample", *task, *QUICK, "--dry-run")
    assert "changed: batch_size=8, max_steps=3, warmup=0, translation_ranking.group=4" in plan.out
    done = cli("train", "-m", "sample", *task, *QUICK, "-o", tmp_path / "x")
    assert done.code == 0, done.err
    assert "translation_ranking.group=4" in cli("lineage", tmp_path / "x").out


def test_a_group_that_does_not_fit_into_memory_is_named(
    tiny_model: Tiny, pairs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = lesson_of(opened(tiny_model("xlm-roberta")), pairs, name="translation_ranking")

    def full(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(RankedPairs, "loss", full)
    trainer = Trainer(
        lessons=[lesson],
        schedule=Schedule(epochs=1, batch_size=7, learning_rate=1e-3),
        seed=0,
        dtype="float32",
        folder=tmp_path,
        micro_tokens=100,
    )
    with pytest.raises(ModelError) as caught:
        trainer.run()
    assert "one group of 3 pairs of " in str(caught.value)
    assert "use --gradient-checkpointing, smaller groups (--set translation_ranking.group=…)" in str(
        caught.value
    )


def test_no_held_out_pair_at_all(tiny_model: Tiny) -> None:
    headed = opened(tiny_model("xlm-roberta"))
    assert held_out_loss(headed, rows_of(headed, []), 100, Bitexts()) == 0


def test_it_is_not_scored(cli: Cli) -> None:
    done = cli("eval", "-m", "sample", "-t", "translation_ranking", "--data", "sample", "--device", "cpu")
    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.mark.full
def test_two_processes_learn_what_one_does(together: Callable[..., Any], tmp_path: Path) -> None:
    """Groups are divided among them; in the last batch one of them may have none."""
    command = (
        "-m harness train -m sample -t translation_ranking --data sample --device cpu --dtype float32".split()
    )
    command += "--hyper batch_size=80 --hyper max_steps=4 --hyper dropout=0 --hyper warmup=0".split()
    for size in (1, 2):
        home = tmp_path / f"home{size}"
        done = together(*command, "-o", tmp_path / str(size), size=size, HARNESS_HOME=str(home))
        assert [entry.code for entry in done] == [0] * size, done[0].err
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("1", "2"))
    told = [json.loads((tmp_path / name / "training.json").read_text()) for name in ("1", "2")]
    assert [entry["ranks"] for entry in told] == [[[0, 1]], [[0, 2]]]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("language", ["sw", "zh"])
def test_real_pairs_become_rows(real_data: Path, language: str, sample_model: Path) -> None:
    """Those of TLM; a text with several translations has one number."""
    catalog = load_catalog(others=False)
    location = DataLocation.parse(str(real_data), offline=True)
    mine, tlm = (
        list[Any](sources.read(catalog.task(name), language, "train", location).examples)
        for name in ("translation_ranking", "tlm")
    )
    assert mine == tlm
    headed = opened(open_checkpoint(str(sample_model)))
    rows = Bitexts().encode(mine[:3_000], headed.tokenizer, 64)
    assert rows.health["lost"] == 0
    sides = [side for pair in mine[:3_000] for side in (pair.text, pair.other)]
    # Some texts differ only behind the cut, or in spaces.
    assert 0.99 * len(set(sides)) < len(np.unique(rows.text)) <= len(set(sides))
