"""What this machine computes with: threads, CUDA devices, what is multiplied in hardware. Knows no model and no search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from harness.errors import DeviceError

# What torch raises because of a device, and not because of a model or its files: no room, a fault of the card or its driver.
TROUBLES: tuple[type[RuntimeError], ...] = (torch.OutOfMemoryError, torch.AcceleratorError)


def facts() -> dict[str, Any]:
    """Threads, CUDA devices by name, and whether bfloat16 is in hardware, as a JSON value."""
    names = [torch.cuda.get_device_name(number) for number in range(len(cuda_devices()))]
    device = "cuda" if names else "cpu"
    fast = multiplies_bfloat16(device)
    return {
        "threads": torch.get_num_threads(),
        "bfloat16": "in hardware" if fast else f"not in hardware of {device}: float32 is faster",
        "cuda": names,
    }


def cuda_devices() -> list[str]:
    """The CUDA devices of this machine, as ``cuda:N``; none where torch sees none."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{number}" for number in range(count)]


def limit_threads(threads: int | None) -> None:
    """Have torch compute with so many threads in this process; None for as many as it likes."""
    if threads is not None:
        torch.set_num_threads(threads)


def multiplies_bfloat16(device: str) -> bool:
    """Whether matrices of bfloat16 are multiplied in hardware, adding in float32; elsewhere float32 is several times faster."""
    if device.startswith("cuda"):
        # Without a look at the card itself torch says yes to older ones too, which only store bfloat16.
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Callable[[], dict[str, bool]] = getattr(torch.cpu, "get_capabilities", dict)
    known = capabilities()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def device_error(what: str, error: RuntimeError, *, advice: str) -> DeviceError:
    """The line on one of :data:`TROUBLES` that came at something, with what helps where there is no room for it."""
    told = " ".join(str(error).split())[:300]
    if isinstance(error, torch.OutOfMemoryError):
        return DeviceError(f"{what} does not fit the device's memory; {advice} ({told})")
    return DeviceError(f"{what}: the device failed ({type(error).__name__}: {told})")


def remark_on(dtype: str, device: str) -> str:
    """What somebody who asked for a dtype should know of this device; nothing, as a rule."""
    if dtype != "bfloat16" or multiplies_bfloat16(device):
        return ""
    return f"{device} has no instructions for bfloat16, so float32 would be faster here"
