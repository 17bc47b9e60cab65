"""Commands that several processes carry out together, as torchrun starts them: one tells how they end, all end alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.cli.main import verdict_on
from harness.errors import UsageError
from harness.place import Ended, LostRank, place

if TYPE_CHECKING:
    from harness.engine.ranks import Ranks


@contextlib.contextmanager
def taking_part() -> Iterator[Ranks]:
    """Meet the other processes of a command, and part from them in the end.

    Raises:
        Ended: Another process tells why the command ends.
        UsageError: They cannot be met.
    """
    from harness.engine.ranks import join

    ranks = join(place())
    try:
        yield ranks
        ranks.end()
    except LostRank:
        code = ranks.ended()
        if code is None:
            # It was killed, and has told nothing.
            if ranks.leave(verdict_on(LostRank())[0]):
                raise
            code = ranks.ended() or UsageError.exit_code
        ranks.follow()
        raise Ended(code) from None
    except (Exception, KeyboardInterrupt) as error:
        code, _ = verdict_on(error)
        if ranks.leave(code):
            raise
        raise Ended(ranks.ended() or code) from None


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
