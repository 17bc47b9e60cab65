"""Several heads over one encoder, for intermediate training: put together, written beside each other, opened again.

All heads share the encoder's very tensors. Where transformers has a class for family and head, its head part is used, so
that training is the same as that class's own. Knows no task but by name, and no language.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from harness.checkpoints import Checkpoint
from harness.engine import headed as single
from harness.engine.adapting import encoder_of
from harness.engine.headed import Headed
from harness.engine.headmodules import Masked, MeanPooled, Own, OwnMasked, Published
from harness.engine.load import DTYPES
from harness.engine.opening import config_of, quiet, set_language, tokenizer_of
from harness.errors import ModelError
from harness.formats.base import Head
from harness.heads import HEAD_FACTS, HEAD_WEIGHTS, HEADS, CarriedHead, head_name

MASKED: Final = "vocabulary"
VECTOR: Final = "vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """An encoder with heads that share it.

    Attributes:
        encoder: As ``AutoModel`` opens it, with the decoder of families that have one.
        headed: Head to the model that ends in it.
        fresh: Heads that were not there before, whose first weights follow from the seed.
        kept: Models with heads that came with the checkpoint and are not trained, but kept for later stages.
    """

    encoder: Any
    headed: Mapping[Head, Headed]
    fresh: frozenset[Head]
    kept: Mapping[Head, nn.Module] = field(default_factory=dict)


def open_heads(
    parent: Checkpoint, heads: Sequence[Head], *, seed: int, device: str, dropout: float | None = None
) -> Heads:
    """Put heads on a checkpoint's encoder, in float32, to be trained.

    A head that lies beside the encoder, or in its masked-LM class, is taken up; any other is new, and its first weights
    follow from ``seed`` alone, whatever other heads there are.

    Raises:
        ModelError: The folder cannot be opened, weights of the encoder are missing, or a stored head does not fit.
    """
    with quiet(parent):
        config = config_of(parent)
        config.dtype = torch.float32
        if dropout is not None:
            single.set_dropout(parent, config, dropout, own=True)
        state = torch.get_rng_state()
        try:
            torch.manual_seed(seed)
            encoder = single.open_encoder(parent, config).float()
            stored = {head_of(carried): carried for carried in parent.heads.values()}
            found: dict[Head, Headed] = {}
            fresh: set[Head] = set()
            for head in dict.fromkeys(heads):
                torch.manual_seed(seed)
                module, known = _module(parent, encoder, config, head, dropout)
                if head in stored:
                    _take_up(module, encoder, stored[head])
                elif not known:
                    fresh.add(head)
                found[head] = single.headed_of(parent, head, module.float().to(device), device, torch.float32)
            kept = _kept(parent, encoder, config, {*found, *stored})
        finally:
            torch.set_rng_state(state)
    return Heads(encoder=encoder, headed=found, fresh=frozenset(fresh), kept=kept)


def _kept(parent: Checkpoint, encoder: Any, config: Any, known: set[Head]) -> dict[Head, nn.Module]:
    """The masked-LM head that a pretrained model brings in its own class, for a later stage that asks for it."""
    head, named = Head(kind=MASKED), parent.config.get("architectures") or [""]
    if head in known or not str(named[0]).endswith("ForMaskedLM"):
        return {}
    module, whole = _masked(parent, encoder, config)
    return {head: module} if whole else {}


def head_of(carried: CarriedHead) -> Head:
    """The value of a stored head."""
    kind: Any = carried.kind
    return Head(kind=kind, labels=carried.labels)


def _module(
    parent: Checkpoint, encoder: Any, config: Any, head: Head, dropout: float | None
) -> tuple[nn.Module, bool]:
    """A head over the encoder itself, and whether its weights came with the checkpoint."""
    if head.kind == MASKED:
        return _masked(parent, encoder, config)
    if head.kind == VECTOR:  # without weights, so none are new
        set_language(encoder_of(parent, encoder), config)
        return MeanPooled(encoder_of(parent, encoder)), True
    if not single.has_class(config, head):
        return Own(parent, encoder, head, reads=single.reads_of(parent, encoder), dropout=dropout), False
    model: Any = single.CLASSES[head.kind].from_config(single.labelled(copy.deepcopy(config), head))
    _share(parent, model, encoder)
    return Published(model, head, tuple(range(head.size)), last=single.reads_last(parent, model)), False


def _masked(parent: Checkpoint, encoder: Any, config: Any) -> tuple[nn.Module, bool]:
    known: Any = AutoModelForMaskedLM
    if config.is_encoder_decoder or type(config) not in known._model_mapping:
        return OwnMasked(parent, encoder), False
    loaded: Any = known.from_pretrained(
        str(parent.folder),
        config=copy.deepcopy(config),
        dtype=torch.float32,
        local_files_only=True,
        output_loading_info=True,
        trust_remote_code=False,
    )
    model, info = loaded
    base = f"{model.base_model_prefix}."
    gone = [name for name in info["missing_keys"] if not name.startswith(base)]
    _share(parent, model, encoder)
    model.tie_weights()
    return Masked(model), not gone


def _share(parent: Checkpoint, model: Any, encoder: Any) -> None:
    """Put the encoder itself in the place of the model's own."""
    base = getattr(model, model.base_model_prefix)
    if type(base) is not type(encoder):
        raise ModelError(
            f"{parent.folder}: {type(model).__name__} is made over {type(base).__name__}, not over "
            f"{type(encoder).__name__}; this family cannot be trained with several heads"
        )
    setattr(model, model.base_model_prefix, encoder)
    set_language(encoder, encoder.config)


def _tensors(module: nn.Module, encoder: Any) -> dict[str, Tensor]:
    """The head's own tensors: what is not the encoder's."""
    shared = {id(value) for value in [*encoder.parameters(), *encoder.buffers()]}
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: value.detach() for name, value in named if id(value) not in shared}


def _take_up(module: nn.Module, encoder: Any, carried: CarriedHead) -> None:
    assert carried.beside is not None
    path = carried.beside / HEAD_WEIGHTS
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not readable ({error})") from error
    own = _tensors(module, encoder)
    odd = sorted(set(own) ^ set(stored)) or [n for n in own if own[n].shape != stored[n].shape]
    if odd:
        raise ModelError(f"{path}: tensors {', '.join(odd[:5])} do not fit the {carried.kind} head")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(stored[name])


def open_answering(
    checkpoint: Checkpoint, head: Head, order: tuple[int, ...], *, device: str, dtype: str
) -> Headed:
    """Open a model with a head to predict, wherever the head lies; see :func:`harness.engine.headed.open_headed`.

    Raises:
        ModelError: The folder cannot be opened, or weights are missing.
    """
    beside = checkpoint.head is not None and checkpoint.head.beside is not None
    opened = _open_beside if beside else single.open_headed
    return opened(checkpoint, head, order, device=device, dtype=dtype)


def _open_beside(
    checkpoint: Checkpoint, head: Head, order: tuple[int, ...], *, device: str, dtype: str
) -> Headed:
    carried = checkpoint.head
    assert carried is not None
    with quiet(checkpoint):
        config = config_of(checkpoint)
        encoder = single.open_encoder(checkpoint, config).float()
        module, _ = _module(checkpoint, encoder, config, head_of(carried), None)
        _take_up(module, encoder, carried)
        ordered: nn.Module = module
        if type(module) is Published:
            ordered = Published(module.model, head, order, last=module.last)
        elif type(module) is Own:
            module.reorder(order)
            assert carried.beside is not None
            module.reads = _reads(carried.beside) or module.reads
        ordered = ordered.to(DTYPES[dtype]).to(device).eval()
        return single.with_packer(single.headed_of(checkpoint, head, ordered, device, DTYPES[dtype]))


def save_heads(heads: Heads, tasks: Mapping[Head, Sequence[str]], source: Checkpoint, folder: Path) -> None:
    """Write encoder and tokenizer as a plain transformers folder, and the heads beside it.

    Heads of earlier phases that were not trained in this one are copied along as they are.

    Args:
        heads: Encoder and heads.
        tasks: Head to the names of the tasks that it was trained on in this phase.
        source: The parent, of which the tokenizer and earlier heads are taken.
        folder: Where they are written.
    """
    with quiet(source, SafetensorError, OSError):
        heads.encoder.save_pretrained(str(folder))
        tokenizer_of(source).save_pretrained(str(folder))
    _put_back_dropout(source, folder)
    learned = {name for names in tasks.values() for name in names}
    earlier: dict[Head, list[str]] = {head: [] for head in heads.kept}
    for name, carried in source.heads.items():
        # A task that was learned again has its head of now.
        earlier.setdefault(head_of(carried), []).extend([name] if name not in learned else [])
    for head in {**earlier, **tasks}:
        name = head_name(head.kind, head.labels)
        names = [task for task in (*earlier.get(head, ()), *tasks.get(head, ())) if task != name]
        if names or head in heads.kept or name in source.heads:
            _save_head(heads, head, list(dict.fromkeys(names)), source, folder / HEADS / name)


def _save_head(heads: Heads, head: Head, tasks: list[str], source: Checkpoint, target: Path) -> None:
    target.mkdir(parents=True)
    module = heads.headed[head].module if head in heads.headed else heads.kept.get(head)
    if module is None:
        state = load_file(source.folder / HEADS / target.name / HEAD_WEIGHTS)
    else:
        own = _tensors(module, heads.encoder)
        state = {name: value.cpu().contiguous() for name, value in own.items()}
    save_file(state, target / HEAD_WEIGHTS, metadata={"format": "pt"})
    told: dict[str, Any] = {"kind": head.kind, "labels": list(head.labels), "tasks": tasks}
    reads = module.reads if type(module) is Own else _reads(source.folder / HEADS / target.name)
    if reads is not None:
        told["reads"] = reads
    text = json.dumps(told, ensure_ascii=False, indent=1) + "\n"
    (target / HEAD_FACTS).write_text(text, encoding="utf-8")


def _reads(folder: Path) -> str | None:
    """What a stored head of the harness's own reads of a row, None where it does not say so."""
    path = folder / HEAD_FACTS
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return told.get("reads")


def _put_back_dropout(source: Checkpoint, folder: Path) -> None:
    """A dropout that was changed for one phase is not the next one's."""
    path = folder / "config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told.update(
        {name: source.config[name] for name in single.DROPOUTS if name in told and name in source.config}
    )
    path.write_text(json.dumps(told, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
