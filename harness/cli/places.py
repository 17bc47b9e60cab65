"""The options that say where cells run, to an executor. Imports torch, Ray and submitit where they are needed only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.executors import Executor


@contextlib.contextmanager
def executor_of(
    name: str,
    *,
    device: str,
    workers: int | None,
    cores: int | None,
    ray_address: str | None,
    slurm: Sequence[str],
) -> Iterator[Executor]:
    """An executor as it was asked for, for as long as it is needed.

    Raises:
        UsageError: It cannot be had, or an option does not go with it.
    """
    _check(name, device, cores=cores, ray_address=ray_address, slurm=slurm)
    if name == "ray":
        from harness.executors.ray import ray_cluster

        address = "auto" if ray_address is None else ray_address
        with ray_cluster(address=address, device=device, workers=workers, cores=cores) as executor:
            yield executor
    elif name == "slurm":
        from harness.executors.slurm import slurm as slurm_jobs
        from harness.executors.slurmoptions import slurm_options

        yield slurm_jobs(slurm_options(slurm, device=device, cores=cores), workers)
    else:
        from harness.executors.processes import processes

        yield processes(_devices(device, workers))


def planned_device(
    name: str,
    *,
    device: str,
    workers: int | None,
    cores: int | None,
    ray_address: str | None,
    slurm: Sequence[str],
) -> str:
    """The kind of device of cells as the options alone say it, without asking a cluster, for a plan.

    ``auto`` where only a Ray cluster could tell.

    Raises:
        UsageError: An option is not allowed, or does not go with the executor.
    """
    _check(name, device, cores=cores, ray_address=ray_address, slurm=slurm)
    if name == "ray":
        from harness.executors.ray import head_of

        head_of("auto" if ray_address is None else ray_address)
        return device
    if name == "slurm":
        from harness.executors.slurmoptions import slurm_options

        return slurm_options(slurm, device=device, cores=cores).device
    return _devices(device, workers)[0].partition(":")[0]


def _check(
    name: str, device: str, *, cores: int | None, ray_address: str | None, slurm: Sequence[str]
) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UsageError(f"--device {device}: give auto, cpu, cuda or cuda:N")
    if name != "local" and ":" in device:
        raise UsageError(f"--device {device}: --executor {name} gives each cell its device; give cuda")
    wanted = {
        "--ray-address": (ray_address, ("ray",)),
        "--slurm": (slurm or None, ("slurm",)),
        "--cores": (cores, ("ray", "slurm")),
    }
    for option, (value, names) in wanted.items():
        if value is not None and name not in names:
            raise UsageError(f"{option} goes with --executor {' or '.join(names)} only")


def _devices(device: str, workers: int | None) -> list[str]:
    """One device for each process."""
    if device != "auto":
        return [device] * (workers or 1)
    # Asking torch takes seconds; a machine without a driver has no such device.
    if not any(Path(path).exists() for path in ("/dev/nvidia0", "/proc/driver/nvidia")):
        return ["cpu"] * (workers or 1)
    from harness.engine.hardware import cuda_devices

    found = cuda_devices() or ["cpu"]
    return [found[number % len(found)] for number in range(workers or len(found))]
