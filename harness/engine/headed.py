"""Encoders with a head on top: opened from a checkpoint that carries one, or put together anew to be trained.

The one place where a head's value becomes a module. Where transformers has a class for family and head, that
class is used, so that a fine-tuned folder opens there and predicts the same; elsewhere the head is the harness's own, over
the bare encoder. Knows no task and no language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from harness.checkpoints import Checkpoint
from harness.engine import proving
from harness.engine.adapting import RowReader, left_to_right, prepare, row_reader
from harness.engine.headmodules import Own, Published, scorer_of
from harness.engine.load import DTYPES
from harness.engine.opening import (
    all_there,
    check_vocabulary,
    config_of,
    encoder_alone,
    opened_as,
    plain_model,
    quiet,
    set_language,
    tokenizer_of,
)
from harness.engine.packed import Packer
from harness.engine.tokenizer import SubwordTokenizer
from harness.errors import ModelError
from harness.formats.base import Head
from harness.heads import OWN_HEAD, OWN_HEAD_WEIGHTS
from harness.modelfolder import tensor_shapes

CLASSES: Mapping[str, Any] = {
    "pooled": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
    "span": AutoModelForQuestionAnswering,
    "choice": AutoModelForMultipleChoice,
}


# What families call the share of units that training leaves out.
DROPOUTS = tuple(
    """hidden_dropout_prob attention_probs_dropout_prob classifier_dropout dropout_rate classifier_dropout_rate dropout
    attention_dropout seq_classif_dropout qa_dropout embedding_dropout mlp_dropout hidden_dropout
    classifier_dropout_prob pooler_dropout""".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headed:
    """An encoder with a head, ready to run.

    Attributes:
        module: ``(input_ids, attention_mask or None, token_type_ids or None)`` to scores in float32: ``(rows, size)``
            for a pooled or choice head, ``(rows, length, size)`` for a token or span head; that of masked LM takes the
            chosen tokens besides, and one without weights gives vectors, ``(rows, hidden)``.
        head: What it gives, in this order.
        tokenizer: Cuts texts.
        device: Where the module is; ``dtype`` that of its weights.
        name: For messages.
        row_reader: Tells the model with which of its parts to read each row, None for a model without parts for languages.
        packer: Makes rows without padding and runs them, None for a model that must be padded.
    """

    module: nn.Module
    head: Head
    tokenizer: SubwordTokenizer
    device: torch.device
    dtype: torch.dtype
    name: str
    row_reader: RowReader | None = None
    packer: Packer | None = None

    @property
    def encoder(self) -> Any:
        """What is below the head."""
        module: Any = self.module
        return module.base


def open_headed(
    checkpoint: Checkpoint, head: Head, order: tuple[int, ...], *, device: str, dtype: str
) -> Headed:
    """Open a checkpoint that carries the head, every tensor of it accounted for.

    Args:
        checkpoint: Has a head that fits (see :func:`harness.heads.label_order`, which also gives ``order``).
        head: What the task needs.
        order: For each of the head's labels the number of the checkpoint's output.

    Raises:
        ModelError: The folder cannot be opened, or tensors of encoder or head are missing.
    """
    carried = checkpoint.head
    with quiet(checkpoint):
        if carried is not None and carried.own:
            module: nn.Module = _open_own(checkpoint, head, order, DTYPES[dtype])
        else:
            model = _open_published(checkpoint, head, DTYPES[dtype])
            module = Published(model, head, order, last=reads_last(checkpoint, model))
        return with_packer(headed_of(checkpoint, head, module.to(device).eval(), device, DTYPES[dtype]))


def check_head(checkpoint: Checkpoint, head: Head) -> None:
    """Find out from names alone whether every tensor of a carried head is there, before anything is opened.

    Raises:
        ModelError: Some are not; they would be random.
    """
    stored = tensor_shapes(checkpoint.folder)
    if checkpoint.head is None or checkpoint.head.own or checkpoint.head.beside or not stored:
        return
    with quiet(checkpoint), torch.device("meta"):
        config = config_of(checkpoint)
        if not has_class(config, head):
            return
        model: Any = CLASSES[head.kind].from_config(config)
    base = f"{model.base_model_prefix}."
    wanted = {
        name: tuple(value.shape) for name, value in model.state_dict().items() if not name.startswith(base)
    }
    gone = sorted(name for name, shape in wanted.items() if stored.get(name) != shape)
    if gone:
        raise ModelError(
            f"{checkpoint.folder}: {len(gone)} tensors of its {head.kind} head are missing or of another shape "
            f"({', '.join(gone[:5])}); a head that is partly random is never scored. Mend the checkpoint, or give its "
            "encoder alone and let the harness train a head"
        )


def new_headed(
    checkpoint: Checkpoint, head: Head, *, seed: int, device: str, dropout: float | None = None
) -> Headed:
    """Put a freshly initialised head on a checkpoint's encoder, in float32, to be trained.

    The head's first weights follow from ``seed`` alone. A head that the checkpoint carries is left behind.

    Raises:
        ModelError: The folder cannot be opened, or weights of the encoder are missing.
    """
    with quiet(checkpoint):
        config = config_of(checkpoint)
        config.dtype = torch.float32
        if dropout is not None:
            set_dropout(checkpoint, config, dropout, own=not has_class(config, head))
        generator_state = torch.get_rng_state()
        try:
            torch.manual_seed(seed)
            encoder = open_encoder(checkpoint, config)
            torch.manual_seed(seed)
            module = fresh(encoder, config, head, checkpoint, dropout).float()
        finally:
            torch.set_rng_state(generator_state)
        return headed_of(checkpoint, head, module.to(device), device, torch.float32)


def set_dropout(checkpoint: Checkpoint, config: Any, dropout: float, *, own: bool) -> None:
    known = [name for name in DROPOUTS if hasattr(config, name)]
    if not known and not own:
        raise ModelError(
            f"{checkpoint.folder}: a {checkpoint.family} configuration has no dropout that is known (looked for "
            f"{', '.join(DROPOUTS)}); leave out --hyper dropout"
        )
    for name in known:
        setattr(config, name, dropout)
    for name in checkpoint.adapter.chance if checkpoint.adapter is not None and not dropout else ():
        setattr(config, name, 0.0)


def headed_of(
    checkpoint: Checkpoint, head: Head, module: nn.Module, device: str, dtype: torch.dtype
) -> Headed:
    tokenizer = tokenizer_of(checkpoint)
    check_vocabulary(checkpoint, tokenizer, module)
    prepare(checkpoint, module)
    return Headed(
        module=module,
        head=head,
        tokenizer=SubwordTokenizer(
            tokenizer, segments=_segments(checkpoint), separates=_separates(checkpoint)
        ),
        device=torch.device(device),
        dtype=dtype,
        name=checkpoint.name,
        row_reader=row_reader(checkpoint, module),
    )


def with_packer(headed: Headed) -> Headed:
    """The same model with what runs it without padding, if it can be run so; for predicting, as training is padded."""
    module: Any = headed.module
    packer = proving.packer(
        module.base,
        lambda ids, kinds: [module(ids, None, kinds)],
        whole=module,
        pooled=headed.head.kind in ("pooled", "choice"),
        segments=headed.tokenizer.template.segments,
    )
    return replace(headed, packer=packer)


def _segments(checkpoint: Checkpoint) -> bool:
    """Whether the model tells two texts apart: it has an embedding for each. RoBERTa's relatives have only one."""
    return int(checkpoint.config.get("type_vocab_size") or 0) > 1


def _separates(checkpoint: Checkpoint) -> bool:
    return checkpoint.adapter is not None and checkpoint.adapter.separates


def has_class(config: Any, head: Head) -> bool:
    """Whether transformers has a class for the head over this family's encoder."""
    known: Any = CLASSES.get(head.kind)
    if known is None or config.is_encoder_decoder or encoder_alone(config) is not None:
        return False
    return type(config) in known._model_mapping


def labelled(config: Any, head: Head) -> Any:
    if head.labels:
        config.id2label = dict(enumerate(head.labels))
        config.label2id = {label: number for number, label in enumerate(head.labels)}
    elif head.kind == "span":
        config.num_labels = 2
    return config


def open_encoder(checkpoint: Checkpoint, config: Any) -> Any:
    """The model without a head in float32, with the pooler and the decoder of families that have one."""
    model, info = plain_model(checkpoint, config, torch.float32)
    all_there(checkpoint, [key for key in info["missing_keys"] if "pooler." not in key], info, "encoder")
    return model


def fresh(encoder: Any, config: Any, head: Head, checkpoint: Checkpoint, dropout: float | None) -> nn.Module:
    if not has_class(config, head):
        return Own(checkpoint, encoder, head, reads=reads_of(checkpoint, encoder), dropout=dropout)
    model: Any = CLASSES[head.kind].from_config(labelled(config, head))
    base = getattr(model, model.base_model_prefix)
    state = encoder.state_dict()
    kept = {name: value for name, value in state.items() if name in base.state_dict()}
    left = [name for name in base.load_state_dict(kept, strict=False).missing_keys if "pooler." not in name]
    if left:
        raise ModelError(
            f"{checkpoint.folder}: the encoder does not fit its own class; {', '.join(left[:5])}"
        )
    set_language(base, config)
    return Published(model, head, tuple(range(head.size)), last=reads_last(checkpoint, model))


def reads_of(checkpoint: Checkpoint, encoder: Any) -> str:
    """What the harness's own pooled head reads of a row.

    The ``first`` token, as RoBERTa's does; the ``mean``, where the tokenizer puts no special token first (T5); the
    ``last`` token of a decoder, whose first one sees nothing but itself.
    """
    if checkpoint.decoder or left_to_right(checkpoint, encoder):
        return "last"
    tokenizer = tokenizer_of(checkpoint)
    return "first" if SubwordTokenizer(tokenizer, segments=False).template.single[0] else "mean"


def reads_last(checkpoint: Checkpoint, model: Any) -> bool:
    """Whether a class of transformers' has a pooled head on the last token, as those of decoders have."""
    if scorer_of(model) is None:
        return False
    return checkpoint.decoder or left_to_right(checkpoint, getattr(model, model.base_model_prefix))


def _open_published(checkpoint: Checkpoint, head: Head, dtype: torch.dtype) -> Any:
    config = config_of(checkpoint)
    if not has_class(config, head):
        raise ModelError(
            f"{checkpoint.folder}: transformers has no class for a {head.kind} head on {checkpoint.family}"
        )
    if head.kind == "span" and config.num_labels != 2:
        config.num_labels = 2
    model, info = opened_as(CLASSES[head.kind], checkpoint, config, dtype)
    all_there(checkpoint, list(info["missing_keys"]), info, "model and its head")
    set_language(getattr(model, model.base_model_prefix), config)
    return model


def _open_own(checkpoint: Checkpoint, head: Head, order: tuple[int, ...], dtype: torch.dtype) -> nn.Module:
    from safetensors.torch import load_file

    config = config_of(checkpoint)
    told = json.loads((checkpoint.folder / OWN_HEAD).read_text(encoding="utf-8"))
    # Before decoders there were two ways, told as a truth value.
    reads = told["reads"] if "reads" in told else "mean" if told["mean"] else "first"
    module = Own(checkpoint, open_encoder(checkpoint, config), head, reads=reads)
    state = load_file(checkpoint.folder / OWN_HEAD_WEIGHTS)
    gone = sorted(set(module.head_state()) ^ set(state))
    if gone:
        raise ModelError(
            f"{checkpoint.folder}/{OWN_HEAD_WEIGHTS}: tensors {', '.join(gone)} do not fit the head"
        )
    module.load_state_dict(state, strict=False)
    module.reorder(order)
    return module.to(dtype)


def save_headed(headed: Headed, source: Checkpoint, folder: Path) -> None:
    """Write model, head and tokenizer into a folder that transformers opens (its own class where there is one)."""
    module: Any = headed.module
    with quiet(source, SafetensorError, OSError):
        tokenizer = tokenizer_of(source)
        if type(module) is Published:
            if module.last and module.model.config.pad_token_id is None:
                # Without it transformers' class takes no batch. The harness itself does not need it.
                module.model.config.pad_token_id = tokenizer.pad_token_id
            module.model.save_pretrained(str(folder))
        else:
            _save_own(module, headed.head, folder)
        tokenizer.save_pretrained(str(folder))


def _save_own(module: Own, head: Head, folder: Path) -> None:
    from safetensors.torch import save_file

    module.whole[0].save_pretrained(str(folder))
    state = {name: value.detach().cpu().contiguous() for name, value in module.head_state().items()}
    save_file(state, folder / OWN_HEAD_WEIGHTS, metadata={"format": "pt"})
    told = {"kind": head.kind, "labels": list(head.labels), "reads": module.reads}
    (folder / OWN_HEAD).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
