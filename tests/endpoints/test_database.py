"""The service's pool of connections."""

import asyncio

from pgtally.database import Database
from pgtally.settings import Settings

PID = "select pg_backend_pid(), pg_sleep(0.02)"


def test_the_connection_that_came_back_last_is_given_first(service_dsn):
    """Its backend is warm. Requests at once have one each."""

    async def ask():
        database = Database(Settings(dsn=service_dsn, pool_size=4))
        await database.open()
        await database.pool.wait()
        try:
            one_by_one = [(await database.call(PID, {}))[0][0] for _ in range(6)]
            together = await asyncio.gather(*(database.call(PID, {}) for _ in range(4)))
            return one_by_one, [rows[0][0] for rows in together]
        finally:
            await database.close()

    one_by_one, together = asyncio.run(ask())
    assert len(set(one_by_one)) == 1
    assert len(set(together)) == 4
