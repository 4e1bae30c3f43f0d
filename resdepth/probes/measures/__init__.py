"""One module per probe: `measure` yields the rows of one net."""
