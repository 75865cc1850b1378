"""The service answers as its OpenAPI document says, whatever is asked; `make soak` asks more."""

from tests.contract import check, operations


def test_every_answer_is_as_documented(service, subtests):
    for operation in operations(service):
        with subtests.test(operation=f"{operation.method} {operation.path}"):
            check(service, operation, examples=8)
