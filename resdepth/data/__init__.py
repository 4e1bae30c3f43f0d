"""Data sets: where images come from, how they lie on the device, how they vary."""
