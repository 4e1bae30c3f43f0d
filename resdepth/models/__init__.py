"""The nets. `size` counts their parameters and operations without building them."""
