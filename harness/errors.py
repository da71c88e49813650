"""The errors that Toolgate raises on purpose.

    ToolgateError
    ├── SetupError       what the caller asked for cannot be done: a name, a path, an option
    ├── DataError        a file of cases, bars or recordings breaks its format
    │   └── CaseError    one line of a case file; names the file and the line
    ├── StoreError       the store of replies cannot be read or written (disk full, damaged)
    └── TargetError      the target gave no reply, so there is nothing to score

Each message names the value, what is possible and the next step; the command line prints it without a traceback.
"""

from __future__ import annotations


class ToolgateError(Exception):
    """Base of every error raised on purpose."""


class SetupError(ToolgateError):
    """What the caller asked for cannot be done; says what can."""


class DataError(ToolgateError):
    """A file breaks its format; says which and where."""


class CaseError(DataError):
    """One line of a case file is broken; the message starts with file and line number."""


class StoreError(ToolgateError):
    """The store of replies cannot be read or written."""


class TargetError(ToolgateError):
    """The target gave no reply, so there is nothing to score."""
