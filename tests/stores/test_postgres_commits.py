"""What becomes of a commit that got no answer, with a database that does as the test says."""

import pytest

from transferkit import StoreError
from transferkit._lifecycle import step
from transferkit.stores import CommitUnknown
from transferkit.testing.contracts.store_inputs import fact, new_call

pytest.importorskip("psycopg")

from transferkit.stores.postgres.batch import Try
from transferkit.stores.postgres.commits import Commits
from transferkit.stores.postgres.failures import Unavailable
from transferkit.stores.postgres.reading import EventRow

UNKNOWN = CommitUnknown("the connection was lost while the transaction was being committed")
GONE = Unavailable("the database system is starting up; nothing was kept")
REFUSED = StoreError("the server refuses a value; nothing was kept")


class Database:
    """Raises what it is given, transaction by transaction; the last one again and again."""

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


async def applied(database, jobs=1):
    commits, call = Commits(database, partitions=16, grown=lambda _: None), new_call()
    results = [commits.apply_all([(call, fact(call))], step) for _ in range(jobs)]
    return [await result for result in results]


@pytest.mark.parametrize("then", [GONE, REFUSED, ZeroDivisionError(), UNKNOWN])
async def test_until_it_is_found_out_nobody_is_told_that_nothing_was_kept(then):
    with pytest.raises(CommitUnknown):
        await applied(Database(UNKNOWN, then))


@pytest.mark.parametrize("meanwhile", [[GONE], [GONE, UNKNOWN, GONE], [REFUSED]])
async def test_a_server_that_comes_back_tells(meanwhile):
    assert await applied(Database(UNKNOWN, *meanwhile, None)) == [()]


@pytest.mark.parametrize("error", [GONE, REFUSED])
async def test_what_is_known_not_to_be_kept_is_told_at_once(error):
    database = Database(error)
    with pytest.raises(type(error), match="nothing was kept"):
        await applied(database)
    assert database.tries == 1


async def test_where_nothing_was_written_that_could_be_looked_for_nobody_looks():
    database = Database(UNKNOWN, writes=False)
    with pytest.raises(CommitUnknown):
        await applied(database)
    assert database.tries == 1
