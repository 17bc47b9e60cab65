"""Commands that several processes carry out together, as torchrun starts them: one tells how they end, all end alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.cli.main import verdict_on
from harness.errors import UsageError
from harness.place import Ended, Interrupted, LostRank, place

if TYPE_CHECKING:
    from harness.engine.ranks import Ranks


@contextlib.contextmanager
def taking_part() -> Iterator[Ranks]:
    """Meet the other processes of a command, and part from them in the end.

    Raises:
        Ended: Another process tells why the command ends.
        UsageError: They cannot be met.
    """
    from harness.engine import meeting

    ranks = meeting.here()
    try:
        yield ranks
        meeting.end(ranks)
    except (Exception, KeyboardInterrupt, LostRank) as error:
        code, _ = verdict_on(error)
        # Where all have the same error the first one tells it; where another one is gone, it may have told.
        lost = isinstance(error, LostRank) and not isinstance(error, Interrupted)
        word = meeting.leave(ranks, code, wait=2.0 if lost else 0.0 if ranks.first else 1.0)
        if word is None:
            raise
        raise Ended(word) from None


def alone(command: str) -> None:
    """Refuse to run a command in several processes that a launcher started.

    Raises:
        UsageError: There are several, and this is the one that tells.
        Ended: It is another one.
    """
    here = place()
    if here.rank:
        raise Ended(UsageError.exit_code)
    if here.size > 1:
        raise UsageError(
            f"harness {command} has worker processes of its own, and {here.size} of it were started; start it without "
            "torchrun and give --workers"
        )
