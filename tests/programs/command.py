"""Run by tests/test_parallel.py in several processes: a command of the harness in which something goes wrong.

Its first argument is a JSON object, the others are those of ``harness``: ``block`` is the number of examples answered at
once; ``broken`` the process that cannot run its model on a batch; ``strange`` the process with an error that nobody
expects, while it plans.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from harness import grouping
from harness.cli.main import main
from harness.engine import predict
from harness.engine.meeting import here


def disturb(asked: dict[str, Any]) -> None:
    rank = int(os.environ["RANK"])
    if "block" in asked:
        examples: Any = grouping.GROUP_EXAMPLES
        examples["cpu"] = asked["block"]
    if asked.get("broken") == rank:

        def broken(*_: object) -> None:
            raise RuntimeError("broken chip")

        passes: Any = predict
        passes._packed = passes._padded = broken
    if asked.get("strange") == rank:
        ranks = here()

        def strange(*_: object) -> None:
            raise ZeroDivisionError("strange")

        kind: Any = type(ranks)
        kind.agree = strange


if __name__ == "__main__":
    disturb(json.loads(sys.argv[1]))
    main(sys.argv[2:])
