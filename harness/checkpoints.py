"""A model before it is opened: where it is, what it is, how it came about. Imports no torch.

Knows names, heads and trainings; what the files of its folder say is :mod:`harness.modelfolder`'s. Knows nothing about
running a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import digests, hub
from harness.encoders import EncoderAdapter, Languages
from harness.errors import ModelError, UsageError
from harness.heads import CarriedHead, carried_head, heads_beside
from harness.modelfolder import (
    configuration_of,
    longest_of,
    modules_of,
    pooling_of,
    read_json,
    tokenizer_digest,
    weight_files,
    weights_digest,
)

# What a training says of itself, in the folder that it makes.
FACTS, FACTS_VERSION = "training.json", 2
_DEPTH = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers")
# What a model's name may end in, and the change to its configuration that asks transformers for it.
BIDIRECTIONAL, _BOTH_WAYS = "+bidirectional", {"is_causal": False}


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
    def key(self) -> str:
        """What tells it from models with other vectors: digest of weights, its own head's too, and tokenizer.

        Heads beside it are not in it; see :func:`for_task`.
        """
        return digests.of_value([self.weights, self.tokenizer], 32)

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
    modules = modules_of(root)
    first = next((module for module in modules if module["type"].endswith("Transformer")), None)
    folder = root / str(first["path"]) if first else root
    config = {**configuration_of(folder), **asked}
    weights, tokenizer = weight_files(folder), tokenizer_digest(folder)
    pooling, dense = pooling_of(root, modules)
    return Checkpoint(
        name=name,
        folder=folder,
        revision=revision,
        config=config,
        weights=weights_digest(config, weights, pooling, dense),
        tokenizer=tokenizer,
        pooling=pooling,
        dense=dense,
        longest=longest_of(folder, config),
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
            f"{checkpoint.name}: {BIDIRECTIONAL} is for decoders that an adapter names, and {checkpoint.family} is none of "
            "these; leave it out: an encoder reads in both directions anyway, another decoder from left to right"
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
    told = read_json(folder / FACTS)
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
