"""`python -m resdepth`: the same as the command `resdepth`."""

from resdepth.cli import main

main()
