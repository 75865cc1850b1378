"""Keeps Schemathesis from revoking or rotating the key that it comes with, which it finds in the list
of keys: from then on it would be told 401 by every operation, which is documented everywhere."""

import os
from typing import Any
from uuid import uuid4

import schemathesis

OWN_KEY_ID = os.environ["PGTALLY_SOAK_OWN_KEY_ID"]


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Another key instead, which nobody has."""
    if case.path_parameters and case.path_parameters.get("key_id") == OWN_KEY_ID:
        case.path_parameters["key_id"] = str(uuid4())
