"""api.key_rotate: what becomes of the key that is replaced."""

from datetime import timedelta

import pytest

from tests import calls

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("lives", "overlap", "left"),
    [
        (None, 24, 24),
        (1, 24, 1),
        (72, 24, 24),
        (None, 0, 0),
    ],
)
def test_rotating_may_shorten_the_life_of_a_key_but_never_prolongs_it(
    db, new_tenant, lives, overlap, left
):
    tenant = new_tenant()
    with db.transaction():
        (now,) = calls.one(db, "select now()")
        expires = "infinity" if lives is None else now + lives * HOUR
        (key,) = calls.one(
            db, "select key_id from api.key_create(%s, p_expires_at => %s)", tenant, expires
        )
        (told,) = calls.one(
            db, "select old_expires_at from api.key_rotate(%s, %s, %s)", tenant, key, overlap * 3600
        )
    (kept,) = calls.one(
        db, "select expires_at from api.key_list(%s) where key_id = %s", tenant, key
    )
    assert told == kept == now + left * HOUR
