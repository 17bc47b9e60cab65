"""What a device multiplies in hardware. Knows no model and no search."""

from __future__ import annotations

from collections.abc import Callable

import torch


def multiplies_bfloat16(device: str) -> bool:
    """Whether matrices of bfloat16 are multiplied in hardware, adding in float32; elsewhere float32 is several times faster."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    capabilities: Callable[[], dict[str, bool]] = getattr(torch.cpu, "get_capabilities", dict)
    known = capabilities()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def remark_on(dtype: str, device: str) -> str:
    """What somebody who asked for a dtype should know of this device; nothing, as a rule."""
    if dtype != "bfloat16" or multiplies_bfloat16(device):
        return ""
    return f"{device} has no instructions for bfloat16, so float32 would be faster here"
