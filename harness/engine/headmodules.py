"""What stands on an encoder: modules from token ids to scores or vectors, and the cross entropy of scores.

Knows the shapes of what they give; opens and writes nothing, and knows no task.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from harness.checkpoints import Checkpoint
from harness.engine.adapting import encoder_of
from harness.errors import ModelError
from harness.formats.base import Head
from harness.formats.rows import IGNORED


class Published(nn.Module):
    """A model class of transformers; ``order`` puts its outputs into the head's order.

    A decoder's pooled head reads the ``last`` token of a row. The class takes for that the last one that is not the padding
    token, which may be another one: some tokenizers pad with the token that ends a text, and some have none to pad with.
    So here the mask says where a row ends.
    """

    def __init__(self, model: Any, head: Head, order: tuple[int, ...], *, last: bool) -> None:
        super().__init__()
        self.model = model
        self._span, self._choice = head.kind == "span", head.kind == "choice"
        self.last = last and head.kind == "pooled"
        self._order = list(order)

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        inputs = inputs_of(ids, mask, segments)
        if self.last:
            states = self.base(**inputs).last_hidden_state
            scorer = scorer_of(self.model)
            assert scorer is not None
            return self._ordered(scorer(last_token(states, mask)).float())
        if self._choice:  # transformers wants (examples, choices, length); here each row stands for itself
            inputs = {name: value[:, None] for name, value in inputs.items()}
        output = self.model(**inputs)
        if self._span:
            return torch.stack([output.start_logits, output.end_logits], dim=-1).float()
        return self._ordered(output.logits.float())

    @property
    def base(self) -> Any:
        """The encoder inside."""
        return getattr(self.model, self.model.base_model_prefix)

    def _ordered(self, scores: Tensor) -> Tensor:
        return scores if self._order == sorted(self._order) else scores[..., self._order]


def scorer_of(model: Any) -> nn.Module | None:
    """The linear layer with which a decoder's class scores a state, None for a class that is made in another way."""
    layers = (getattr(model, name, None) for name in ("score", "classifier"))
    return next((layer for layer in layers if isinstance(layer, nn.Linear)), None)


class Own(nn.Module):
    """The harness's own head over a bare encoder.

    A pooled head is dropout, a square layer with tanh, dropout and a linear layer over what :func:`reads_of` says; a token
    or span head is dropout and one layer.
    """

    def __init__(
        self, checkpoint: Checkpoint, whole: Any, head: Head, *, reads: str, dropout: float | None = None
    ) -> None:
        super().__init__()
        encoder = encoder_of(checkpoint, whole)
        size = int(encoder.config.hidden_size)
        self.encoder = encoder
        # The model that is written, with the decoder of an encoder-decoder; in a list, so that it is no part of this one.
        self.whole = [whole]
        self._pooled, self.reads = head.kind in ("pooled", "choice"), reads
        own = [getattr(encoder.config, name, None) for name in ("hidden_dropout_prob", "dropout_rate")]
        rates = [dropout, *own]
        self.dropout = nn.Dropout(next((float(rate) for rate in rates if rate is not None), 0.1))
        self.dense = nn.Linear(size, size) if self._pooled else nn.Identity()
        self.out = nn.Linear(size, head.size)

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        states = self.encoder(**inputs_of(ids, mask, segments)).last_hidden_state
        if self._pooled:
            states = self._one(states, mask)
            states = torch.tanh(self.dense(self.dropout(states)))
        scores: Tensor = self.out(self.dropout(states)).float()
        return scores

    @property
    def base(self) -> Any:
        """The encoder inside."""
        return self.encoder

    def _one(self, states: Tensor, mask: Tensor | None) -> Tensor:
        if self.reads == "first":
            return states[:, 0]
        if self.reads == "last":
            return last_token(states, mask)
        if mask is None:
            return states.mean(dim=1)
        weights = mask.to(states.dtype)[:, :, None]
        return (states * weights).sum(dim=1) / weights.sum(dim=1)

    def reorder(self, order: tuple[int, ...]) -> None:
        """Put the outputs into another order: for each label the number of its output now; nothing, for no order."""
        if order and order != tuple(sorted(order)):
            with torch.no_grad():
                self.out.weight.copy_(self.out.weight[list(order)])
                self.out.bias.copy_(self.out.bias[list(order)])

    def head_state(self) -> dict[str, Tensor]:
        """The head's tensors alone."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("encoder.")}


class Selected(nn.Module):
    """An encoder of which only chosen tokens' states go on, shape ``(1, chosen, hidden)``; all, where none is chosen."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config
        self.chosen: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        """Whatever else a class asks of its encoder: DeBERTa's newer head looks for the embeddings there."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("encoder"), name)

    def forward(self, input_ids: Tensor, **inputs: Any) -> BaseModelOutput:
        kept = {
            "input_ids": input_ids,
            **{name: inputs.get(name) for name in ("attention_mask", "token_type_ids")},
        }
        states = self.encoder(**{name: value for name, value in kept.items() if value is not None})
        states = states.last_hidden_state
        return BaseModelOutput(last_hidden_state=states if self.chosen is None else states[self.chosen][None])


class Masked(nn.Module):
    """A masked-LM class of transformers that scores the vocabulary for chosen tokens only."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.selected = Selected(getattr(model, model.base_model_prefix))
        setattr(model, model.base_model_prefix, self.selected)
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None, chosen: Tensor) -> Tensor:
        self.selected.chosen = chosen
        try:
            output = self.model(**inputs_of(ids, mask, segments))
        finally:
            self.selected.chosen = None
        scores: Tensor = output.logits[0].float()
        return scores


class OwnMasked(nn.Module):
    """The harness's own masked-LM head, for families without one: RoBERTa's, tied to the input embeddings."""

    def __init__(self, checkpoint: Checkpoint, whole: Any) -> None:
        super().__init__()
        self.encoder = encoder_of(checkpoint, whole)
        table = self.encoder.get_input_embeddings().weight
        size = int(self.encoder.config.hidden_size)
        if table.shape[1] != size:
            raise ModelError(
                f"masked LM: the input embeddings have {table.shape[1]} dimensions and the states {size}; "
                f"this family ({self.encoder.config.model_type}) cannot be trained by masked LM"
            )
        self.dense, self.norm = nn.Linear(size, size), nn.LayerNorm(size)
        self.bias = nn.Parameter(torch.zeros(table.shape[0]))

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None, chosen: Tensor) -> Tensor:
        states = self.encoder(**inputs_of(ids, mask, segments)).last_hidden_state[chosen]
        states = self.norm(nn.functional.gelu(self.dense(states)))
        scores: Tensor = nn.functional.linear(states, self.encoder.get_input_embeddings().weight, self.bias)
        return scores.float()


class MeanPooled(nn.Module):
    """An encoder that gives one vector of length 1 per row: the mean over all tokens of the last layer's states.

    Special tokens are included, as in XTREME's protocol of retrieval.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def base(self) -> Any:
        """The encoder inside."""
        return self.encoder

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        states = self.encoder(**inputs_of(ids, mask, segments)).last_hidden_state.float()
        if mask is None:
            return nn.functional.normalize(states.mean(dim=1), dim=-1)
        total = (states * mask[:, :, None]).sum(dim=1)
        return nn.functional.normalize(total / mask.sum(dim=1, keepdim=True), dim=-1)


def last_token(states: Tensor, mask: Tensor | None) -> Tensor:
    """The state of each row's last token, ``(rows, length, size)`` to ``(rows, size)``; padding stands behind it."""
    if mask is None:
        return states[:, -1]
    return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1]


def inputs_of(ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> dict[str, Tensor]:
    """What a model of transformers is called with."""
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    return {name: value for name, value in inputs.items() if value is not None}


def loss(head: Head, scores: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Cross entropy summed over what is scored (sequences, words, or both ends of a span), a scalar.

    Args:
        head: Whose scores they are.
        scores: As :class:`Headed` gives them.
        targets: As :meth:`harness.formats.base.HeadFormat.targets` gives them, padded alike with
            :data:`harness.formats.rows.IGNORED`.
        mask: Where tokens are, ``(rows, length)``, None where nothing is padded. A span is not looked for in padding, so
            that the loss of a row does not depend on the others of its batch.
    """
    if head.kind == "span":
        if mask is not None:
            scores = scores.masked_fill(mask[..., None] == 0, torch.finfo(scores.dtype).min)
        ends = scores.transpose(1, 2).reshape(-1, scores.shape[1])
        return nn.functional.cross_entropy(ends, targets.reshape(-1), reduction="sum") / 2
    return nn.functional.cross_entropy(
        scores.reshape(-1, scores.shape[-1]), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )
