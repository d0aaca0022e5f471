"""Exit statuses of the launcher and what they tell the user."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    NOT_STARTED = 2
    SITE_LEFT_OUT = 3
    REFUSED = 4
    BUSY = 75
    INTERRUPTED = 130


MEANING = {
    ExitStatus.DONE: "done",
    ExitStatus.FAILED: "a step failed",
    ExitStatus.NOT_STARTED: "nothing was started",
    ExitStatus.SITE_LEFT_OUT: "done, but a site was left out",
    ExitStatus.REFUSED: "a bundle is not fit to be given away",
    ExitStatus.BUSY: "another run is active",
    ExitStatus.INTERRUPTED: "interrupted",
}


def closing_line(status: ExitStatus, detail: str = "") -> str:
    """Return the last line that every command prints."""
    return f"exit status {int(status)}: {MEANING[status]}" + (f"; {detail}" if detail else "")
