"""
A process that stands for a center under a supervisor: what it does is told on its command line.

    children.py SCRIPT FOLDER --child N

It answers as the JSON in FOLDER/N.json lists, the last answer for ever, and writes to FOLDER/N.asked how
often it was asked. SCRIPT says what else: `obey`, `deaf` (to SIGTERM), `die`, `wrong` (settings), `once`
(dies the first time), `orphan` (does not look whether its supervisor is still there).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path


def end_on_sigterm() -> None:
    """An end in order; a handler would not be called if the signal came just before a read that waits."""
    signal.sigwait([signal.SIGTERM])
    os._exit(0)


def main() -> None:
    """Be a child."""
    script, folder, number = sys.argv[1], Path(sys.argv[2]), sys.argv[4]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if script != "deaf":
        threading.Thread(target=end_on_sigterm, daemon=True).start()
    starts = folder / f"{number}.starts"
    with starts.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if script == "die" or (script == "once" and len(starts.read_text().splitlines()) == 1):
        sys.exit(3)
    if script == "wrong":
        sys.exit(2)
    answers = json.loads((folder / f"{number}.json").read_text())
    asked = 0
    # A supervisor that is killed before it has read an answer resets the line: that is its end, too.
    with os.fdopen(0, "rb", buffering=0) as line, contextlib.suppress(ConnectionError):
        while line.readline():
            answer = answers[min(asked, len(answers) - 1)]
            asked += 1
            (folder / f"{number}.asked").write_text(str(asked))
            os.write(0, json.dumps(answer).encode() + b"\n")
    if script == "orphan":
        threading.Event().wait()


if __name__ == "__main__":
    main()
