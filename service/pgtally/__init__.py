"""pgtally: multi-tenant event analytics. PostgreSQL holds the logic, this package the edges."""

from importlib.metadata import version

__version__ = version("pgtally")
