"""Mixtures of experts, run so that a token's result hangs on its own row alone. Knows the three families' modules.

What is put in place of a module of transformers is a subclass of it, so that names and shapes of tensors stay and a saved
model is transformers' own. Seen in transformers 5.23: Switch counts an expert's capacity per row, so nothing is changed but
the number of rows that its matrix products see; so with Qwen3-MoE, which has no capacity. NLLB-MoE counts it over the
batch, and sends tokens to the wrong experts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.nllb_moe.modeling_nllb_moe import NllbMoeExperts, NllbMoeTop2Router
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts
from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersExperts


def prepare_switch(module: nn.Module, least_rows: Callable[[], int]) -> None:
    """Have the experts of a Switch encoder see full matrices; what they compute stays transformers' own."""
    for part in list(module.modules()):
        _becomes(part, SwitchTransformersExperts, SwitchExperts, least_rows)


def prepare_nllb_moe(module: nn.Module, least_rows: Callable[[], int]) -> None:
    """Have an NLLB-MoE encoder send each token to its two experts, whatever else is in the batch."""
    for part in list(module.modules()):
        _becomes(part, NllbMoeExperts, NllbExperts, least_rows)
        _becomes(part, NllbMoeTop2Router, NllbRouter, least_rows)


def prepare_qwen3_moe(module: nn.Module, least_rows: Callable[[], int]) -> None:
    """Have the experts of a Qwen3-MoE decoder see full matrices; what they compute stays transformers' own."""
    for part in list(module.modules()):
        _becomes(part, Qwen3MoeExperts, QwenExperts, least_rows)


def _becomes(
    part: nn.Module, kind: type[nn.Module], ours: type[nn.Module], least_rows: Callable[[], int]
) -> None:
    if type(part) is kind:
        # Another class over the same tensors: nothing is copied, and the module may be part of several models.
        part.__class__ = ours
        part.least_rows = least_rows  # type: ignore[assignment]


def _experts(experts: nn.ModuleDict) -> list[nn.Module]:
    """The experts by number; beside them in the same dictionary lies NLLB-MoE's dropout."""
    named = [(name, expert) for name, expert in experts.items() if name.startswith("expert_")]
    return [expert for _, expert in sorted(named, key=lambda item: int(item[0].removeprefix("expert_")))]


def _through(expert: Callable[[Tensor], Tensor], states: Tensor, least: int) -> Tensor:
    """States of shape ``(tokens, size)`` through an expert, filled up with zeros to a number of rows.

    How many tokens of a batch choose an expert hangs on the whole batch; kernels round another way for a few rows.
    """
    missing = 0 if torch.is_grad_enabled() else least - len(states)
    if missing <= 0:
        return expert(states)
    return expert(nn.functional.pad(states, (0, 0, 0, missing)))[: len(states)]


def _mixed(
    experts: Sequence[Callable[[Tensor], Tensor]], states: Tensor, gates: Tensor, least: int
) -> Tensor:
    """The sum over experts of gate times the expert's result.

    Args:
        experts: Of a layer, each ``(tokens, size)`` to the same.
        states: Shape ``(tokens, size)``.
        gates: Shape ``(tokens, experts)``, 0 where a token does not go to an expert.
        least: Rows that a matrix product must have.
    """
    result = torch.zeros_like(states)
    for number, expert in enumerate(experts):
        chosen = gates[:, number].nonzero()[:, 0]
        if len(chosen):
            given = _through(expert, states[chosen], least) * gates[chosen, number, None]
            result.index_add_(0, chosen, given.to(result.dtype))
    return result


class SwitchExperts(SwitchTransformersExperts):
    """Switch's experts; a token goes to one of them, or to none where a row brings more than it takes."""

    least_rows: Callable[[], int]

    def forward(self, hidden_states: Tensor, selected_experts: Tensor, routing_weights: Tensor) -> Tensor:
        """As the parent's: ``(tokens, size)``, ``(tokens, 1, experts)``, ``(tokens, 1)`` to ``(tokens, size)``."""
        gates = selected_experts[:, 0] * routing_weights
        return _mixed(_experts(self), hidden_states, gates, self.least_rows())


class NllbExperts(NllbMoeExperts):
    """NLLB-MoE's experts. The parent takes the mask of first choices for numbers of experts.

    So it sends every token to expert 1 with the gate of its first choice and to expert 0 with that of its second, and
    leaves the others idle. Here each token goes to the experts that it chose (NLLB team 2022, arXiv 2207.04672), as in
    transformers 4. In evaluation a published model's results are scaled by 1 - ``moe_token_dropout``, which stands in for
    the masking of experts' results in its training. In training the same is done here, without masking, so that what is
    trained is what is evaluated; the parent masks and scales by 1 / (1 - ``moe_token_dropout``).
    """

    least_rows: Callable[[], int]

    def forward(self, hidden_states: Tensor, router_mask: Tensor, router_probs: Tensor) -> Tensor:
        """``(tokens, size)``, unused, gates ``(tokens, experts)`` to ``(tokens, size)``."""
        mixed = _mixed(_experts(self), hidden_states, router_probs, self.least_rows())
        return mixed * (1 - self.moe_token_dropout)


class NllbRouter(NllbMoeTop2Router):
    """NLLB-MoE's router with room for every token at every expert, and without chance where nothing is trained.

    The parent counts an expert's capacity over all tokens of a batch, and in training remembers it from the last batch that
    it evaluated.
    """

    def route_tokens(
        self,
        router_logits: Tensor,
        input_dtype: torch.dtype = torch.float32,
        padding_mask: Any = None,
    ) -> Any:
        """As the parent's."""
        self.moe_eval_capacity_token_fraction = 1.0
        self.expert_capacity = len(router_logits)
        policy = self.second_expert_policy
        try:
            self.second_expert_policy = policy if self.training else "all"
            return super().route_tokens(router_logits, input_dtype, padding_mask)
        finally:
            self.second_expert_policy = policy


class QwenExperts(Qwen3MoeExperts):
    """Qwen3-MoE's experts, whose weights lie in one tensor for all; a token goes to its best few, whatever the others do.

    Where nothing is trained and the number of rows matters, each expert is run by itself over a matrix of enough rows.
    Elsewhere the parent goes its own way, which is one grouped product for all experts.
    """

    least_rows: Callable[[], int]
    num_experts: int
    gate_up_proj: nn.Parameter
    down_proj: nn.Parameter
    act_fn: Callable[[Tensor], Tensor]

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """As the parent's: ``(tokens, size)``, ``(tokens, chosen)``, ``(tokens, chosen)`` to ``(tokens, size)``."""
        least = self.least_rows()
        if torch.is_grad_enabled() or least <= 1:
            return super().forward(hidden_states, top_k_index, top_k_weights)
        gates = hidden_states.new_zeros(len(hidden_states), self.num_experts)
        gates = gates.scatter(1, top_k_index, top_k_weights.to(gates.dtype))
        experts = [partial(self._expert, number) for number in range(self.num_experts)]
        return _mixed(experts, hidden_states, gates, least)

    def _expert(self, number: int, states: Tensor) -> Tensor:
        gate, up = nn.functional.linear(states, self.gate_up_proj[number]).chunk(2, dim=-1)
        result: Tensor = nn.functional.linear(self.act_fn(gate) * up, self.down_proj[number])
        return result
