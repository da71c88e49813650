"""What every write that must survive a power cut needs beside the file itself.

Covers: making a new or replaced name in a folder durable.
Does not cover: the file's own bytes; whoever writes them flushes and fsyncs them.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Return when the folder's names are on the disk; OSError where that cannot be."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
