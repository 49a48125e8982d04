"""The exception tree. Every message is one line that ends with what to do next.

MmiddError
├── UsageError          wrong arguments or configuration            (exit code 2)
│   ├── LayoutError     a root does not look like the named source
│   ├── SpecMismatch    the workspace is pinned to another preprocessing spec
│   └── MissingExtra    an optional dependency is not installed
├── DataError           a file or row that cannot be used           (a counted row)
│   └── MediaError      media that cannot be decoded, with a short `reason`
├── WorkspaceBusy       another process holds the stage's lock      (exit code 3)
├── StorageError        the disk is full or not writable            (exit code 3)
├── PolicyCollapsed     reinforcement learning has gone astray      (exit code 1)
└── TooManyFailures     more units failed than `--max-failed`       (exit code 4)
"""

from __future__ import annotations


class MmiddError(Exception):
    """Base of every error mmidd raises on purpose; `exit_code` is the process's."""

    exit_code = 1


class UsageError(MmiddError):
    """The arguments or the configuration cannot be used."""

    exit_code = 2


class LayoutError(UsageError):
    """A root folder does not have the layout of the named source."""


class SpecMismatch(UsageError):
    """The workspace is pinned to another preprocessing spec."""


class MissingExtra(UsageError):
    """An optional dependency is not installed; the message holds the install line."""


class DataError(MmiddError):
    """Data that cannot be used. `reason` is a short stable code that summaries count."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class MediaError(DataError):
    """Media that cannot be decoded."""


class WorkspaceBusy(MmiddError):
    """Another process works on the same stage."""

    exit_code = 3


class StorageError(MmiddError):
    """The workspace cannot be written."""

    exit_code = 3


class PolicyCollapsed(MmiddError):
    """A policy gives the same answer to everything, or thinks nothing."""


class TooManyFailures(MmiddError):
    """A stage finished, but more of its units failed than allowed."""

    exit_code = 4
