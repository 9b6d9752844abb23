"""PostgreSQL: commits without a reply, with a scripted database instead of a server."""

import pytest

from transferkit import StoreError
from transferkit._lifecycle import step
from transferkit.stores import CommitUnknown
from transferkit.testing.contracts.store_inputs import fact, new_call

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")


from transferkit.stores.postgres.commit import Commits, EventRow, Try  # noqa: E402 - needs the driver
from transferkit.stores.postgres.errors import Unavailable  # noqa: E402 - needs the driver

UNKNOWN = CommitUnknown("the connection was lost while the transaction was being committed")


GONE = Unavailable("the database system is starting up; nothing was recorded")


REFUSED = StoreError("the server refuses a value; nothing was recorded")


class Database:
    """Raises the given errors, one for each transaction; the last one repeatedly."""

    def __init__(self, *raises, writes=True):
        self.raises = list(raises)
        self.writes = writes
        self.tries = 0

    async def commit(self, run):
        self.tries += 1
        batch = run.__self__
        happens = self.raises.pop(0) if len(self.raises) > 1 else self.raises[0]
        if happens is UNKNOWN:
            batch.tries.append(Try(EventRow(1, 1, self.tries) if self.writes else None, []))
        if happens is not None:
            raise happens
        batch.results = [() for _ in batch.jobs]


async def committed(database):
    call = new_call()
    return await Commits(database, None, partitions=16).commit([([(call, fact(call))], step)])


@pytest.mark.parametrize("then", [GONE, REFUSED, ZeroDivisionError(), UNKNOWN])
async def test_every_error_is_commit_unknown_while_an_earlier_commit_is_in_doubt(then):
    with pytest.raises(CommitUnknown):
        await committed(Database(UNKNOWN, then))


@pytest.mark.parametrize("meanwhile", [[GONE], [GONE, UNKNOWN, GONE], [REFUSED]])
async def test_a_commit_without_a_reply_is_found_when_the_server_returns(meanwhile):
    assert await committed(Database(UNKNOWN, *meanwhile, None)) == [()]


@pytest.mark.parametrize("error", [GONE, REFUSED])
async def test_an_error_that_proves_that_nothing_was_recorded_is_raised_at_once(error):
    database = Database(error)
    with pytest.raises(type(error), match="nothing was recorded"):
        await committed(database)
    assert database.tries == 1


async def test_a_commit_that_wrote_no_event_is_not_tried_again():
    database = Database(UNKNOWN, writes=False)
    with pytest.raises(CommitUnknown):
        await committed(database)
    assert database.tries == 1
