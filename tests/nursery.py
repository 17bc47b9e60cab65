"""A script: carries out harness commands in forks of one interpreter that has everything loaded, and kills some of them.

Each line of standard input is a list of orders in JSON, carried out at once. An order has ``arguments``, ``environment``, ``folder`` (where the command runs and
what counts as its files), ``log`` (its output), ``counts`` (where events are counted) and ``moment``: None, or ``role``
(``main`` or ``worker``), ``event`` and ``delay``. An event is a write, rename or removal below the folder, or a look at
the built-in data; at that event of a process in that role it is killed, or so many seconds later. The answer is one
line: their exit codes, negative for a signal.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod")


def main() -> None:
    """Answer orders until there are no more."""
    load_everything()
    print("ready", flush=True)
    for line in sys.stdin:
        children = []
        for order in json.loads(line):
            children.append(os.fork())
            if not children[-1]:
                carry_out(order)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(*codes, flush=True)


def load_everything() -> None:
    """Import what a command would import; nothing is computed, so that no thread is there yet."""
    import faiss  # noqa: F401
    from transformers import PreTrainedTokenizerFast, XLMRobertaModel  # noqa: F401

    import harness.cellwork
    import harness.cli.evaluate
    import harness.cli.run
    import harness.cli.train
    import harness.executors
    import harness.report.experiment  # noqa: F401


def carry_out(order: dict[str, Any]) -> None:
    """Be the command; never returns."""
    from harness.cli import main as cli

    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(target, descriptor)
    # Workers are forks too, or every one of them would load torch anew.
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]
    sys.addaudithook(counter(order))
    code = 70
    try:
        code = cli._run(order["arguments"], debug=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def counter(order: dict[str, Any]) -> Callable[[str, tuple[Any, ...]], None]:
    """Counts events of this process, or of a worker that it forks, and kills at the ordered one."""
    seen: dict[int, int] = {}
    files: dict[str, int] = {
        role: os.open(f"{order['counts']}.{role}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for role in ("main", "worker")
    }
    moment = order["moment"]

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not counts(event, arguments, order["folder"]):
            return
        process = os.getpid()
        role = "main" if multiprocessing.parent_process() is None else "worker"
        seen[process] = seen.get(process, 0) + 1
        os.write(files[role], b".")
        if moment and moment["role"] == role and seen[process] == moment["event"]:
            kill(moment["delay"])

    return heard


def counts(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Whether an event is one of those at which a command may be killed."""
    path = str(arguments[0])
    if event == "open" and "harness_tasks" in path:
        return True
    if not path.startswith(folder):
        return False
    return event != "open" or bool(arguments[2] & WRITES)


def kill(delay: float) -> None:
    """Kill -9 this process, now or a little later."""
    if not delay:
        os.kill(os.getpid(), signal.SIGKILL)
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    main()
