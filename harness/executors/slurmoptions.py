"""What ``--slurm`` says, as submitit's parameters. Knows no job."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError

_KEYS = {
    "account": "a name",
    "cluster": "slurm, or local to try it with processes of this machine",
    "constraint": "features of a node",
    "gpus": "0 or 1",
    "memory": "GiB of a cell, e.g. 32",
    "partition": "a name",
    "qos": "a name",
    "time": "minutes, or [D-]HH:MM:SS",
}
_NAMES = ("account", "constraint", "partition", "qos")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """How jobs are submitted.

    Attributes:
        cluster: ``slurm`` or ``local``.
        device: ``cpu`` or ``cuda``.
        cores: Of each cell; None for what Slurm gives.
        minutes: Until a job is stopped, and queued again.
        memory: GiB, None for what Slurm gives.
        names: Of account, partition and so on, where they are given.
    """

    cluster: str
    device: str
    cores: int | None
    minutes: int
    memory: float | None
    names: Mapping[str, str]

    def parameters(self, name: str) -> dict[str, Any]:
        """As submitit's ``AutoExecutor.update_parameters`` takes them, for jobs of a name."""
        # Time to write a state before the end of the job; writing that of a large model may take minutes.
        delay = max(30, min(300, self.minutes * 60 // 10))
        return {
            "name": name,
            "timeout_min": self.minutes,
            "mem_gb": self.memory,
            "cpus_per_task": self.cores,
            "gpus_per_node": 1 if self.device == "cuda" else None,
            "slurm_signal_delay_s": delay,
            **{f"slurm_{key}": value for key, value in self.names.items()},
        }


def slurm_options(texts: Sequence[str], *, device: str, cores: int | None) -> SlurmOptions:
    """Read values of ``--slurm``.

    Raises:
        UsageError: One is not ``KEY=VALUE``, its key is unknown or comes twice, or its value is not allowed.
    """
    given: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value or key not in _KEYS:
            known = ", ".join(f"{name} ({what})" for name, what in _KEYS.items())
            raise UsageError(f"--slurm {text}: give KEY=VALUE with one of {known}")
        if key in given:
            raise UsageError(f"--slurm {key} is given twice, as {given[key]} and {value}")
        given[key] = value
    gpus = _one_of(given, "gpus", ("0", "1"), "1" if device == "cuda" else "0")
    if (device, gpus) in (("cuda", "0"), ("cpu", "1")):
        raise UsageError(f"--device {device} does not go with --slurm gpus={gpus}")
    return SlurmOptions(
        cluster=_one_of(given, "cluster", ("slurm", "local"), "slurm"),
        device="cuda" if gpus == "1" else "cpu",
        cores=cores,
        minutes=_minutes(given.get("time", "60")),
        memory=_gibibytes(given["memory"]) if "memory" in given else None,
        names={name: given[name] for name in _NAMES if name in given},
    )


def _one_of(given: Mapping[str, str], key: str, allowed: Sequence[str], default: str) -> str:
    value = given.get(key, default)
    if value not in allowed:
        raise UsageError(f"--slurm {key}={value}: give {' or '.join(allowed)}")
    return value


def _minutes(text: str) -> int:
    """Whole minutes, at least one, seconds rounded up.

    >>> _minutes("90"), _minutes("1:30:00"), _minutes("2-00:00:30")
    (90, 90, 2881)
    """
    parts = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", text)
    if parts is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
        found = days * _DAY_MINUTES + hours * 60 + minutes + (seconds > 0)
    else:
        found = int(text) if re.fullmatch(r"\d{1,6}", text) else 0
    if not found:
        raise UsageError(f"--slurm time={text}: give minutes, or [D-]HH:MM:SS")
    return found


def _gibibytes(text: str) -> float:
    if not re.fullmatch(r"\d{1,5}(\.\d+)?", text) or not float(text):
        raise UsageError(f"--slurm memory={text}: give GiB as a number, e.g. 32")
    return float(text)
