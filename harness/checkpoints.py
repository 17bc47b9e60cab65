"""A model folder before it is opened: where it is, whether it is whole, what it is. Imports no torch.

Knows the files of transformers and sentence-transformers folders; knows nothing about running a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import digests, hub
from harness.encoders import EncoderAdapter, Languages
from harness.errors import ModelError, UsageError
from harness.heads import OWN_HEAD, OWN_HEAD_WEIGHTS, CarriedHead, carried_head, heads_beside

# What a training says of itself, in the folder that it makes.
FACTS, FACTS_VERSION = "training.json", 2
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_TOKENIZER_FILES = (
    *_TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "sentence_bert_config.json",
)
_DEPTH = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers")
# RoBERTa's relatives number positions from the padding token's id + 1, so that many positions are never used.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert", "roberta-prelayernorm")
# What a model's name may end in, and the change to its configuration that asks transformers for it.
BIDIRECTIONAL, _BOTH_WAYS = "+bidirectional", {"is_causal": False}
# These look at distances between tokens, so their position table does not limit the length.
_RELATIVE_POSITIONS = ("deberta", "deberta-v2", "t5", "mt5", "umt5", "switch_transformers", "longt5")
_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_lasttoken": "last_token",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model folder that has a configuration, weights and a tokenizer.

    Attributes:
        name: As the user gave it.
        folder: Where the encoder's files are (inside a sentence-transformers folder it may be a sub-folder).
        revision: Commit hash on the hub, or None for a local folder.
        config: Content of config.json, with ``asked`` in it.
        asked: Keys of the configuration that the user wants to be other than in the file; see :func:`asked_of`.
        weights: Digest of weights, configuration and pooling modules.
        tokenizer: Digest of the tokenizer's files.
        pooling: A sentence-transformers folder's own pooling, or None.
        dense: Folders of its dense layers, applied after pooling of the last layer.
        longest: Tokens that it can read at most, special tokens included, or None if unlimited.
        head: The head that it carries, None for an encoder alone.
        heads: Task to the head beside the encoder that was trained on it.
        lineage: What is known of the trainings that made it, the first one first; see ``training.json``.
        adapter: How its family is run, where that is not the same as for all others; see :func:`adapted`.
    """

    name: str
    folder: Path
    revision: str | None
    config: Mapping[str, Any]
    weights: str
    tokenizer: str
    pooling: str | None
    dense: tuple[Path, ...]
    longest: int | None
    head: CarriedHead | None = None
    heads: Mapping[str, CarriedHead] = field(default_factory=dict)
    lineage: tuple[Mapping[str, Any], ...] = ()
    adapter: EncoderAdapter | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decoder(self) -> bool:
        """Whether it is a decoder that is read as an encoder: its heads read the last token."""
        return self.adapter is not None and self.adapter.decoder

    @property
    def depth(self) -> int:
        """Number of blocks; there is one hidden state more."""
        for key in _DEPTH:
            if isinstance(self.config.get(key), int):
                return int(self.config[key])
        raise ModelError(
            f"{self.folder}/config.json: none of {', '.join(_DEPTH)} says how many layers there are"
        )

    @property
    def outputs(self) -> int:
        """Number of outputs of its classification head: transformers' 2 where the configuration says nothing."""
        named = self.config.get("id2label")
        return len(named) if named else int(self.config.get("num_labels") or 2)

    @property
    def family(self) -> str:
        """transformers' model type, e.g. ``xlm-roberta``."""
        return str(self.config["model_type"])

    @property
    def languages(self) -> Languages | None:
        """The languages for which the model has parts of its own, None for a model without such parts."""
        reads = self.adapter.languages if self.adapter is not None else None
        return reads(self.config) if reads is not None else None


_ALLOWED = "a folder or a hub id (owner/name)"


def asked_of(name: str) -> tuple[str, Mapping[str, Any]]:
    """The name of a model without what it asks for, and that as changes to the configuration.

    >>> asked_of("Qwen/Qwen3-0.6B+bidirectional")
    ('Qwen/Qwen3-0.6B', {'is_causal': False})
    >>> asked_of("xlm-roberta-base")
    ('xlm-roberta-base', {})
    """
    if name.endswith(BIDIRECTIONAL) and not Path(name).is_dir():
        plain = name.removesuffix(BIDIRECTIONAL)
        if not plain:
            raise UsageError(f"{name}: no model stands before it; write MODEL{BIDIRECTIONAL}")
        return plain, dict(_BOTH_WAYS)
    return name, {}


def open_checkpoint(
    name: str, *, revision: str | None = None, offline: bool = False, allowed: str = _ALLOWED
) -> Checkpoint:
    """Find a model folder, or fetch one from the hub, and check that it is whole.

    Args:
        name: A folder or an id on the hub; ``+bidirectional`` behind it has a decoder read in both directions.
        revision: On the hub.
        offline: Whether only what is cached is looked at.
        allowed: What may be given, to say so where there is no such model.

    Raises:
        ModelError: No such folder or repository, or a part is missing or cut short.
    """
    plain, asked = asked_of(name)
    root, found_revision = _locate(plain, revision, offline, allowed)
    try:
        return _described(name, root, found_revision, asked)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{root}: damaged or not readable ({type(error).__name__}: {error})") from error


def _described(name: str, root: Path, revision: str | None, asked: Mapping[str, Any]) -> Checkpoint:
    modules = _modules(root)
    first = next((module for module in modules if module["type"].endswith("Transformer")), None)
    folder = root / str(first["path"]) if first else root
    config = {**_config(folder), **asked}
    weights = _weight_files(folder)
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise ModelError(
            f"{folder}: no tokenizer (none of {', '.join(_TOKENIZERS)}); save it beside the weights"
        )
    pooling, dense = _pooling(root, modules)
    return Checkpoint(
        name=name,
        folder=folder,
        revision=revision,
        config=config,
        weights=_weights_digest(config, weights, pooling, dense),
        tokenizer=digests.of_value({file: _digest_if_there(folder / file) for file in _TOKENIZER_FILES}, 32),
        pooling=pooling,
        dense=dense,
        longest=_longest(folder, config),
        head=carried_head(folder, config),
        heads=heads_beside(folder),
        lineage=_lineage(folder),
        asked=asked,
    )


def adapted(checkpoint: Checkpoint, adapter: EncoderAdapter | None) -> Checkpoint:
    """The checkpoint as its family's adapter runs it, which is another model to caches; the same where there is none.

    Raises:
        ModelError: The adapter does not get along with its configuration, or something is asked for that is none of the
            family's ways.
    """
    if checkpoint.asked and not (adapter is not None and adapter.decoder):
        raise ModelError(
            f"{checkpoint.name}: {BIDIRECTIONAL} is for decoders that an adapter names, and {checkpoint.family} is none; "
            "leave it out, for an encoder reads in both directions anyway"
        )
    if adapter is None or checkpoint.adapter is not None:
        return checkpoint
    weights = digests.of_value([checkpoint.weights, adapter.name, adapter.version], 32)
    changed = replace(checkpoint, adapter=adapter, weights=weights)
    # An adapter may be a plugin's, which may raise anything.
    try:
        _ = changed.languages
    except Exception as error:
        raise ModelError(
            f"{checkpoint.folder}/config.json: encoder '{adapter.name}' cannot read it ({type(error).__name__}: {error})"
        ) from error
    return changed


def for_task(checkpoint: Checkpoint, task: str) -> Checkpoint:
    """The checkpoint with the head beside it that was trained on a task as its own; the same where there is none."""
    head = checkpoint.heads.get(task)
    if head is None or checkpoint.head is not None:
        return checkpoint
    return replace(checkpoint, head=head, weights=digests.of_value([checkpoint.weights, head.digest], 32))


def _lineage(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """The trainings that ``training.json`` tells of, the last of them its own; none where it is not this harness's."""
    if not (folder / FACTS).is_file():
        return ()
    told = _json(folder / FACTS)
    if not isinstance(told, dict) or not {"schema", "key", "courses"} <= set(told):
        return ()
    if told["schema"] != FACTS_VERSION or not isinstance(told.get("lineage"), list):
        raise ModelError(
            f"{folder / FACTS}: schema version {told['schema']}, this harness reads {FACTS_VERSION}; train it again"
        )
    own = {name: value for name, value in told.items() if name != "lineage"}
    return (*told["lineage"], own)


def _locate(name: str, revision: str | None, offline: bool, allowed: str) -> tuple[Path, str | None]:
    folder = Path(name)
    if folder.is_dir():
        return folder.resolve(), None
    repository = hub.model_repository(name)
    if repository is None:
        raise ModelError(f"no model folder {name}; give {allowed}")
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model*.bin", "*/pytorch_model.bin"]
    try:
        found = hub.snapshot(repository, kind="model", revision=revision, patterns=patterns, offline=offline)
    except hub.NotToBeHadError as error:
        raise ModelError(
            f"no model folder {name}, and hub repository {repository} is not cached and cannot be fetched ({error})"
        ) from error
    return found, found.name


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from error


def _config(folder: Path) -> Mapping[str, Any]:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; is this a transformers model folder?")
    config = _json(folder / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{folder}/config.json: no model_type")
    return config


def _modules(root: Path) -> list[dict[str, Any]]:
    path = root / "modules.json"
    modules: list[dict[str, Any]] = _json(path) if path.is_file() else []
    return modules


def _pooling(root: Path, modules: list[dict[str, Any]]) -> tuple[str | None, tuple[Path, ...]]:
    pooling = None
    dense: list[Path] = []
    for module in modules:
        kind, path = str(module["type"]).rsplit(".", 1)[-1], root / str(module["path"])
        if kind == "Pooling":
            pooling = _pooling_mode(path / "config.json")
        elif kind == "Dense":
            dense.append(path)
        elif kind not in ("Transformer", "Normalize"):
            raise ModelError(f"{root}/modules.json: module {module['type']} is not supported")
    return pooling, tuple(dense)


def _pooling_mode(path: Path) -> str:
    config = _json(path)
    modes = [mode for key, mode in _POOLING.items() if config.get(key)]
    named = config.get("pooling_mode")
    if isinstance(named, str):
        modes = [{"lasttoken": "last_token", "weightedmean": "weighted_mean"}.get(named, named)]
    if len(modes) != 1 or modes[0] not in _POOLING.values():
        raise ModelError(f"{path}: pooling {' + '.join(modes) or 'of no kind'} is not supported")
    return modes[0]


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, each checked for length where its format tells it."""
    name = next((name for name in _WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise ModelError(f"{folder}: no weights (none of {', '.join(_WEIGHTS)})")
    paths = [folder / name]
    if name.endswith(".index.json"):
        paths = [folder / shard for shard in sorted(set(_json(folder / name)["weight_map"].values()))]
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path}: named by {name} but missing")
        if path.suffix == ".safetensors":
            _check_safetensors(path)
    return paths


def _check_safetensors(path: Path) -> None:
    """A safetensors file states its own length: 8 bytes, a JSON header, then data up to the largest offset."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if 8 + length <= size else b""
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({size} bytes, its header is cut or broken)"
        ) from error
    if size != expected:
        raise ModelError(
            f"{path}: {size} bytes where its header says {expected}; the file is cut short, copy it again"
        )


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a folder's safetensors files; empty where its weights are in another format."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _weight_files(folder):
        if path.suffix != ".safetensors":
            return {}
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        entries = {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        shapes.update(entries)
    return shapes


def _weights_digest(
    config: Mapping[str, Any], weights: list[Path], pooling: str | None, dense: tuple[Path, ...]
) -> str:
    shape = {
        key: value for key, value in config.items() if key not in ("_name_or_path", "transformers_version")
    }
    parts = [path for folder in dense for path in sorted(folder.iterdir()) if path.is_file()]
    own = [weights[0].parent / name for name in (OWN_HEAD, OWN_HEAD_WEIGHTS)]
    files = {path.name: digests.of_file(path) for path in [*weights, *own] if path.is_file()}
    modules = [digests.of_file(path) for path in parts]
    return digests.of_value({"config": shape, "files": files, "pooling": pooling, "dense": modules}, 32)


def _digest_if_there(path: Path) -> str | None:
    return digests.of_file(path) if path.is_file() else None


def _longest(folder: Path, config: Mapping[str, Any]) -> int | None:
    limits = []
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0 and config["model_type"] not in _RELATIVE_POSITIONS:
        padding = config.get("pad_token_id")
        used_up = (padding if isinstance(padding, int) else 1) + 1
        limits.append(positions - (used_up if config["model_type"] in _OFFSET_POSITIONS else 0))
    for file, key in (
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        value = _json(folder / file).get(key) if (folder / file).is_file() else None
        # transformers writes 1e30 for "no limit".
        if isinstance(value, int | float) and value < 1e9:
            limits.append(int(value))
    return min(limits, default=None)


def check_length(checkpoint: Checkpoint, wanted: int | None, default: int) -> int:
    """Tokens at most: what the user asks for, else the task's default capped at the model's limit.

    Raises:
        UsageError: More than the model can read, or fewer than 3.
    """
    longest = checkpoint.longest
    if wanted is None:
        return default if longest is None else min(default, longest)
    if wanted < 3 or (longest is not None and wanted > longest):
        raise UsageError(
            f"--max-length {wanted} is not within 3 to {longest or 'unlimited'}, the limit of {checkpoint.name}"
        )
    return wanted
