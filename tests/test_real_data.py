"""A real checkpoint on real data: all-MiniLM-L6-v2 on Tatoeba and BUCC, against published scores and brute force.

The published scores are those of the MTEB results repository (commit f4cc6c8b, Tatoeba.json of all-MiniLM-L6-v2,
revision 8b3219a9): support-weighted F1, other language to English, last hidden state, fractions here times 100.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import harness
from harness import Run, languages

# Weighted F1 and accuracy in percent for the languages of the quick test.
PUBLISHED = {"ang": (15.6353648424546, 19.4029850746269), "ast": (6.8384633738964, 7.8740157480315)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of this module share."""
    return tmp_path_factory.mktemp("real")


@pytest.fixture(autouse=True)
def _cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(home))


def evaluated(minilm: Path, data: Path, output: Path, codes: str, **options: Any) -> Run:
    """Tatoeba by the last hidden state, as the published numbers have it."""
    return harness.evaluate(
        model=str(minilm),
        tasks=options.pop("tasks", "tatoeba"),
        languages=[codes],
        data=str(data),
        output=output,
        layer="last",
        **options,
    )


def value(run: Run, language: str, metric: str, view: str) -> float:
    """One score of a run."""
    (found,) = [
        record.value
        for record in run.records
        if (record.language, record.metric) == (language, metric) and record.variant.endswith(f".{view}")
    ]
    return found


def test_a_few_languages_agree_with_published_scores(
    minilm: Path, real_data: Path, home: Path, published: dict[str, dict[str, float]]
) -> None:
    run = evaluated(minilm, real_data, home / "few", "ang,ast")
    for code in ("ang", "ast"):
        assert value(run, code, "weighted_f1", "xx-en") == pytest.approx(
            100 * published[f"{code}-eng"]["f1"], abs=0.2
        )
        assert value(run, code, "accuracy", "xx-en") == pytest.approx(
            100 * published[f"{code}-eng"]["accuracy"], abs=0.2
        )


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, float]]:
    """The two languages of the quick test; the full test reads all from beside the data."""
    return {
        f"{code}-eng": {"f1": f1 / 100, "accuracy": accuracy / 100}
        for code, (f1, accuracy) in PUBLISHED.items()
    }


def test_three_letter_codes_and_two_letter_codes_mean_the_same(
    minilm: Path, real_data: Path, home: Path
) -> None:
    """And records carry the code that the suite uses."""
    run = evaluated(minilm, real_data, home / "codes", "tzl,kaz", limit=20)
    again = evaluated(minilm, real_data, home / "codes", "tzl,kk", limit=20)
    assert {record.language for record in run.records} == {"tzl", "kk"}
    assert list(run.records) == list(again.records)


def brute_force(minilm: Path, texts: list[str]) -> NDArray[np.float64]:
    """Vectors of texts one at a time by plain transformers, float64, length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(minilm))
    model: Any = AutoModel.from_pretrained(str(minilm), dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            encoding = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            rows.append(model(**encoding).last_hidden_state[0].double().mean(dim=0).numpy())
    vectors = np.stack(rows)
    normalised: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


@pytest.mark.parametrize("code", ["ang", pytest.param("ast", marks=pytest.mark.full)])
def test_scores_equal_a_brute_force_computation_exactly(
    minilm: Path, real_data: Path, home: Path, code: str
) -> None:
    """One sentence at a time, a NumPy matrix product, scikit-learn's F1."""
    from sklearn.metrics import accuracy_score, f1_score

    run = evaluated(minilm, real_data, home / "few", code)
    folder = real_data / "tatoeba" / "v1"
    sides = [
        (folder / f"tatoeba.{code}-eng.{side}").read_text(encoding="utf-8").split("\n")[:-1]
        for side in (code, "eng")
    ]
    other, english = (brute_force(minilm, side) for side in sides)
    for view, similarity in (("xx-en", other @ english.T), ("en-xx", english @ other.T)):
        # Equal texts have equal similarities up to rounding; the first of them counts.
        best = similarity.round(6).argmax(axis=1)
        gold = np.arange(len(best))
        f1 = 100 * f1_score(gold, best, average="weighted", zero_division=0)  # pyright: ignore[reportArgumentType]
        assert value(run, code, "weighted_f1", view) == pytest.approx(f1, abs=1e-9)
        assert value(run, code, "accuracy", view) == pytest.approx(100 * accuracy_score(gold, best), abs=1e-9)


@pytest.mark.full
def test_every_language_at_hand_agrees_with_published_scores(
    minilm: Path, real_data: Path, home: Path
) -> None:
    """All 56; 18 of them are among XTREME's 36."""
    path = real_data.parent / "facts" / "published-minilm-tatoeba.json"
    if not path.is_file():
        pytest.skip(f"no published scores beside the data ({path.name})")
    published = json.loads(path.read_text(encoding="utf-8"))["per_language"]
    run = evaluated(minilm, real_data, home / "all", "available")
    assert len({record.language for record in run.records}) == len(published) == 56
    for pair, scores in published.items():
        code = languages.canonical(pair[:3])
        assert value(run, code, "weighted_f1", "xx-en") == pytest.approx(100 * scores["f1"], abs=0.2), pair


@pytest.mark.full
def test_bucc_is_mined_among_real_distractors(minilm: Path, real_data: Path, home: Path) -> None:
    """Chinese-English, 8,624 x 13,589 sentences, gold halved by hash; F1 recounted from the prediction file."""
    run = evaluated(minilm, real_data, home / "bucc", "zh", tasks="bucc2018", split=["dev"])
    record = next(record for record in run.records if record.main)
    assert record.inputs["texts"] == 8624 + 13589
    assert any("half of this split's gold" in caveat for caveat in record.caveats)
    (path,) = (run.folder / "predictions" / "bucc2018").rglob("zh.parquet")
    table = pq.read_table(path).to_pydict()
    gold = {
        tuple(line.split("\t"))
        for line in (real_data / "bucc2018" / "zh-en.dev.gold").read_text(encoding="utf-8").splitlines()
    }
    tested = {pair for pair in gold if hashlib.sha256(pair[0].encode()).digest()[0] >> 7 == 1}
    found = {
        (identity, candidate["target"])
        for identity, candidates in zip(table["id"], map(json.loads, table["prediction"]), strict=True)
        for candidate in candidates
        if candidate["score"] >= record.facts["threshold"]
    }
    hits = len(found & tested)
    expected = 200 * hits / (len(found) + len(tested))
    assert record.value == pytest.approx(expected)
    assert value(run, "zh", "mining_f1_oracle", "mined") >= record.value
