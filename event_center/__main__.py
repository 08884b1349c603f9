"""`python -m event_center`: the same as the command `event-center`."""

from __future__ import annotations

from event_center.cli import main

if __name__ == "__main__":
    main()
