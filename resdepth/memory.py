"""How much memory there is and how it is said. Standard library only."""

import os


def host_bytes() -> int:
    """The memory of this machine; where the system does not say, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**60


def in_words(size: int) -> str:
    """Bytes in the unit that suits them: 1.5 GiB."""
    for power, unit in ((50, "PiB"), (40, "TiB"), (30, "GiB")):
        if size >= 2**power:
            return f"{size / 2**power:,.1f} {unit}"
    return f"{size / 2**20:,.1f} MiB"
