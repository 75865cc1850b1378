"""Where the SQL lies: inside the installed package, or at the root of a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent.parent


def folder(name: str) -> Path:
    """The folder `sql` or `migrations`."""
    packaged = PACKAGE / name
    return packaged if packaged.is_dir() else CHECKOUT / name


def is_checkout() -> bool:
    """Is this the source tree, not an installed package?"""
    return not (PACKAGE / "sql").is_dir()
