"""Scores do not depend on how they are computed: batch budget, order, company, threads. In float32 on a CPU, bit for bit.

Vectors are computed anew every time; heads are trained once, for the bits of a training do depend on the number of
threads (LayerNorm's and attention's gradients are sums that threads divide), which is why an experiment goes on with the
shares of the cores that it began with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from harness.registry import load_catalog

Cli = Callable[..., Any]
Evaluate: TypeAlias = Callable[..., dict[str, Any]]
TASKS = "tatoeba,bucc2018,xnli,panx,xquad"
LANGUAGES = "de,sw,zh"
HYPER = ("max_steps=3", "batch_size=8", "warmup=0", "learning_rate=1e-3")


def outcome(folder: Path) -> dict[str, Any]:
    """Records without the name of the run, and predictions byte for byte."""
    found: dict[str, Any] = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")
    }
    for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        del told["run"]
        found[" ".join(str(told[name]) for name in ("task", "variant", "language", "metric", "seed"))] = told
    return found


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Within, torch and FAISS compute with so many threads."""
    import faiss
    import torch

    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(number)
    faiss.omp_set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])


@pytest.fixture(params=["sample", "minilm"])
def evaluate(
    request: pytest.FixtureRequest, cli: Cli, isolated: Callable[..., Path], tmp_path: Path
) -> Evaluate:
    """Evaluates with further options, without the vectors of earlier evaluations; the outcome."""
    home = isolated()
    model = "sample" if request.param == "sample" else str(request.getfixturevalue("minilm"))
    fixed: tuple[str, ...] = ("-m", model, "--data", "sample", "--device", "cpu")
    hyper = tuple(part for text in HYPER for part in ("--hyper", text))
    catalog = load_catalog(others=False)

    def run(*options: str, tasks: str = TASKS, languages: str = LANGUAGES) -> dict[str, Any]:
        shutil.rmtree(home / "embeddings", ignore_errors=True)
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        # Where nothing is trained the hyper-parameters would be refused.
        heads = any(catalog.task(task).format.head.kind != "none" for task in tasks.split(","))
        more = hyper if heads else ()
        done = cli("eval", *fixed, "-t", tasks, "-l", languages, *more, *options, "-o", out)
        assert done.code == 0, done.err
        return outcome(out)

    return run


@pytest.mark.full
def test_scores_depend_on_no_batch_no_order_and_no_thread(evaluate: Evaluate) -> None:
    usual = evaluate()
    assert len(usual) > 50
    assert evaluate("-b", "50") == usual
    assert evaluate("-b", "100000") == usual
    assert evaluate(tasks=",".join(reversed(TASKS.split(",")))) == usual
    assert evaluate(languages=",".join(reversed(LANGUAGES.split(",")))) == usual
    for number in (1, 2, 3):
        with threads(number):
            assert evaluate() == usual, f"{number} threads"


@pytest.mark.full
def test_a_unit_alone_has_the_scores_that_it_has_in_company(evaluate: Evaluate) -> None:
    usual = evaluate()
    for language in LANGUAGES.split(","):
        alone = evaluate(languages=language)
        assert alone
        assert {name: usual[name] for name in alone} == alone
    catalog = load_catalog(others=False)
    for task in TASKS.split(","):
        known = [code for code in LANGUAGES.split(",") if code in catalog.task(task).languages]
        alone = evaluate(tasks=task, languages=",".join(known))
        assert alone
        assert {name: usual[name] for name in alone} == alone
