"""How fast the engines are, beside the loop that people write and the floors of the device."""
