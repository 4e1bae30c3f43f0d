"""A probe's CSV file as sentences and figures."""
