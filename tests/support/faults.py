"""Take rights, file sizes or memory from a forked command, and read what it says."""

import ctypes
import os


def lines_of(done, code):
    """What it said on standard error: lines of its own and no traceback."""
    assert done.returncode == code, done.stderr
    assert all(line.startswith("resdepth: ") for line in done.stderr.splitlines()), done.stderr
    return done.stderr.splitlines()


def file_size_limit(size):
    """Files end at `size` bytes; a write beyond fails as on a full disk, for Python ignores the signal."""
    import resource  # POSIX only

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def without_roots_rights():
    """Root passes over a file's mode by two capabilities (capabilities(7)); without them it is held to it."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    override, read_search = 1, 2
    # The effective set, and the permitted one, which access(2) goes by.
    sets[0] &= ~(1 << override | 1 << read_search)
    sets[1] &= ~(1 << override | 1 << read_search)
    assert libc.capset(header, sets) == 0
