"""The doors for other clients: what they send becomes the same events, by the same rules, as what
comes through POST /events. A door is one file here: how a message becomes an event, and its routes,
which it lists as HANDLERS under TITLE, the section of the reference that they are in."""

import importlib
import pkgutil
from typing import Any


def handlers() -> dict[str, list[Any]]:
    """The routes of every door, by their section."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
    ]
    return {module.TITLE: module.HANDLERS for module in modules}
