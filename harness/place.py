"""Which of several processes this one is, as a launcher such as torchrun says in the environment. Imports no torch.

Also the two ways in which a process ends because of another one; neither is an Exception, so that nothing which goes on
after a failed unit takes it for one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import UsageError

_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A process among those that carry out one command together.

    Attributes:
        rank: Its number, from 0; the process of rank 0 writes and prints.
        size: How many there are.
        local: Its number on its machine, which is that of its CUDA device.
    """

    rank: int = 0
    size: int = 1
    local: int = 0


class LostRank(BaseException):
    """Another process of this run is gone, or is not where it should be."""


class Interrupted(LostRank):
    """The user interrupted this process while it talked to the others, which it leaves."""


class Ended(BaseException):
    """This process ends as another one did, which told why.

    Args:
        code: The exit code of both.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def place(environment: Mapping[str, str] | None = None) -> Place:
    """The place of this process; the only one where no launcher says otherwise.

    Raises:
        UsageError: The launcher's variables contradict each other, or some are missing.
    """
    given = os.environ if environment is None else environment
    if "RANK" not in given or given.get("WORLD_SIZE", "1") == "1":
        return Place()
    gone = [name for name in ("LOCAL_RANK", *_ADDRESS) if name not in given]
    if gone:
        raise UsageError(
            f"environment variables RANK and WORLD_SIZE are set and {', '.join(gone)} not; start with torchrun, or unset "
            "them to run in one process"
        )
    try:
        found = Place(rank=int(given["RANK"]), size=int(given["WORLD_SIZE"]), local=int(given["LOCAL_RANK"]))
    except ValueError as error:
        raise UsageError(f"{_told(given)}: give whole numbers, as torchrun does") from error
    if not (0 <= found.rank < found.size and 0 <= found.local <= found.rank):
        raise UsageError(
            f"{_told(given)}: a rank is at least 0 and below WORLD_SIZE, a LOCAL_RANK at most RANK"
        )
    return found


def is_first() -> bool:
    """Whether this process is the one that prints; so it is where the launcher's variables make no sense."""
    try:
        return place().rank == 0
    except UsageError:
        return True


def _told(given: Mapping[str, str]) -> str:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    return f"environment variables {' '.join(f'{name}={given[name]}' for name in names)}"
