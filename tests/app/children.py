"""
A process that stands for a center under a supervisor: what it does is told on its command line.

    children.py SCRIPT FOLDER --child N

It answers as the JSON in FOLDER/N.json lists, the last answer for ever, and writes to FOLDER/N.asked how
often it was asked. SCRIPT says what else: `obey`, `deaf` (to SIGTERM), `die`, `wrong` (settings), `once`
(dies the first time), `finish` (ends at once with code 0), `orphan` (does not look whether its supervisor
is still there), `leave` (dies, and a helper lives that has its stdin), `leave-asked` (so the first time,
once it is asked again). The ids of helpers are in FOLDER/helpers.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def end_on_sigterm() -> None:
    """An end in order; a handler would not be called if the signal came just before a read that waits."""
    signal.sigwait([signal.SIGTERM])
    os._exit(0)


def leave(folder: Path) -> None:
    """Die, but for a helper that has the line and stays."""
    helper = subprocess.Popen(["sleep", "1000"])
    with (folder / "helpers").open("a") as file:
        file.write(f"{helper.pid}\n")
    os._exit(3)


def main() -> None:
    """Be a child."""
    script, folder, number = sys.argv[1], Path(sys.argv[2]), sys.argv[4]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if script != "deaf":
        threading.Thread(target=end_on_sigterm, daemon=True).start()
    starts = folder / f"{number}.starts"
    with starts.open("a") as file:
        file.write(f"{os.getpid()}\n")
    first = len(starts.read_text().splitlines()) == 1
    if script == "leave":
        leave(folder)
    if script == "die" or (script == "once" and first):
        sys.exit(3)
    if script in ("wrong", "finish"):
        sys.exit(2 if script == "wrong" else 0)
    answers = json.loads((folder / f"{number}.json").read_text())
    asked = 0
    # A supervisor that is killed before it has read an answer resets the line: that is its end, too.
    with os.fdopen(0, "rb", buffering=0) as line, contextlib.suppress(ConnectionError):
        while line.readline():
            if script == "leave-asked" and first and asked:
                leave(folder)
            answer = answers[min(asked, len(answers) - 1)]
            asked += 1
            (folder / f"{number}.asked").write_text(str(asked))
            os.write(0, json.dumps(answer).encode() + b"\n")
    if script == "orphan":
        threading.Event().wait()


if __name__ == "__main__":
    main()
