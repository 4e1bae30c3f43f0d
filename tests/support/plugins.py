"""Files of variants."""

from pathlib import Path

HALF = """\
from resdepth.variants import Variant

VARIANTS = {"half": Variant(lambda z, a: z + 0.5 * a, has_shortcut=True)}
"""


def write_plugin(folder, text=HALF, name="my_variants.py"):
    """A file of variants in the folder; its path."""
    path = Path(folder) / name
    path.write_text(text)
    return path


def defining(**joins):
    """A file of these variants, of Python expressions."""
    entries = ", ".join(f"{name!r}: Variant({join}, has_shortcut=True)" for name, join in joins.items())
    return f"from resdepth.variants import Variant\n\nVARIANTS = {{{entries}}}\n"
