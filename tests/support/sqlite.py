"""What runs on the connections of an open SQLite store."""


async def on_writer(store, run):
    """Run a function in a transaction of the store's writer."""

    def in_transaction(session):
        session.begin()
        try:
            result = run(session)
            session.commit()
        except BaseException:
            session.rollback()
            raise
        return result

    return await store._opened().writer.run(in_transaction)
