"""The contract test of tests/endpoints with many more requests; PGTALLY_SOAK_EXAMPLES says how many
an operation and kind."""

import os

import pytest

from tests.contract import check, operations

pytestmark = pytest.mark.soak
EXAMPLES = int(os.environ.get("PGTALLY_SOAK_EXAMPLES", "200"))


def test_every_answer_is_as_documented_for_long(service, subtests):
    for operation in operations(service):
        with subtests.test(operation=f"{operation.method} {operation.path}"):
            check(service, operation, EXAMPLES)
