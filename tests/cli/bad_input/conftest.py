"""The command in this process, for every table of bad input."""

from support.bad_input import refuse, resdepth  # noqa: F401  fixtures
