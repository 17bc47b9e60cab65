"""What a reader needs to know to trust the numbers: model, data, training, versions. Knows a run; computes no score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.records import Record
from harness.run import Run


def facts(run: Run) -> list[tuple[str, str]]:
    """Names and values, in the order in which they are shown."""
    manifest = run.manifest
    model = manifest["model"]
    return [
        ("model", f"{model['name']} ({model['family']}, {model['depth']} blocks, {model['dtype']})"),
        ("revision", model["revision"] or "local folder"),
        ("weights", model["weights"]),
        ("tokenizer", model["tokenizer"]),
        ("vectors", "; ".join(model["vectors"]) or "none; heads were read"),
        *(("head", line) for line in training(run.records)),
        ("data", manifest["data"]),
        ("sources", ", ".join(sorted({f"{record.task}: {record.source}" for record in run.records}))),
        ("run", manifest["run"]),
        ("texts cut at the length limit", _counted(run.records, "truncated")),
        ("empty texts", _counted(run.records, "empty")),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())),
        ("hardware", f"{manifest['hardware']['cores']} cores, {manifest['hardware']['device']}"),
        (
            "metric signatures",
            ", ".join(sorted({f"{record.metric}: {record.signature}" for record in run.records})),
        ),
    ]


def _counted(records: Sequence[Record], name: str) -> str:
    if not records:
        return ""
    found = {
        (record.task, record.language): record.inputs[name] for record in records if record.inputs.get(name)
    }
    if not found:
        return "none"
    return ", ".join(f"{task}/{language} {count}" for (task, language), count in sorted(found.items()))


def training(records: Iterable[Record]) -> list[str]:
    """One line per head that this run trained: who uses it, on what it was trained, and its checkpoint."""
    users: dict[str, set[str]] = {}
    heads: dict[str, tuple[Mapping[str, object], int | None]] = {}
    for record in records:
        if record.trained:
            name = str(record.trained.get("checkpoint", record.trained))
            users.setdefault(name, set()).add(record.task)
            heads[name] = (record.trained, record.seed)
    lines = (f"{', '.join(sorted(users[name]))}: {_head(*heads[name])}" for name in heads)
    return sorted(lines)


def _head(trained: Mapping[str, object], seed: int | None) -> str:
    """What is known of how a head came about; a fact that is missing is left out."""
    on = "/".join(str(trained[key]) for key in ("task", "split") if trained.get(key) is not None)
    language = trained.get("language")
    parts = [
        f"trained on {on or 'unknown data'}" + (f" in {language}" if language is not None else ""),
        *(f"{trained[key]:,} {key}" for key in ("examples", "steps") if isinstance(trained.get(key), int)),
        *(f"{key} {trained[key]}" for key in ("checkpoint", "parent", "data") if trained.get(key)),
        *([f"seed {seed}"] if seed is not None else []),
    ]
    return ", ".join(parts)
