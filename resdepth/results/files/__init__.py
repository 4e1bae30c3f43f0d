"""How files are written: atomically, tables as CSV; and evaluations.csv."""
