"""`python -m resdepth`: the same as the command `resdepth`."""

from resdepth.cli.main import main

main()
