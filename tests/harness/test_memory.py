"""Memory that is kept is not cleared again: counted in page faults, which no clock disturbs."""

import subprocess
import sys

import pytest

LOOP = """
import ctypes, resource
from harness.targets.memory import keep_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
size = 50 * 2**20
def step():
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
{prepare}
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(prepare):
    command = [sys.executable, "-c", LOOP.format(prepare=prepare)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_blocks_are_used_again():
    assert faults("keep_memory(); keep_memory()") < faults("") / 10


def test_it_does_nothing_where_there_is_no_such_allocator(monkeypatch):
    from harness.targets.memory import keep_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    keep_memory()
