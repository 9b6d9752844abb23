"""A stand-in for Azure Service Bus: enough of AMQP 1.0 that Microsoft's SDK sends to it unchanged.

It implements what a sender uses: SASL, `$cbs` (claims-based security), the size limit of a link, batches, and
duplicate detection by message id. https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
"""

import socket
import threading

from proton import Delivery, Message, symbol
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, EventInjector

BATCH = 0x80013700
"""The message format of a batch: each data section is a message."""


class ServiceBus(MessagingHandler):
    """A server on a port of its own, in a thread. `stored` are the messages, by proton's class."""

    def __init__(self, *, max_size=262_144, entities=("calls",)):
        super().__init__(auto_accept=False)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.max_size = max_size
        self.entities = entities
        self.stored = []
        self.copies = 0
        self.deliveries = 0
        self.tokens = []
        self.answer = True
        """Whether it confirms what it stores."""
        self._ids = set()
        self._replies = {}
        self._connections = []
        self._ready = threading.Event()
        self._injector = EventInjector()
        self._thread = None

    @property
    def connection_string(self):
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=relay;SharedAccessKey=c2VjcmV0;"
            "UseDevelopmentEmulator=true;"
        )

    def start(self):
        self._container = Container(self)
        self._container.selectable(self._injector)
        self._thread = threading.Thread(target=self._container.run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self):
        """Close the port and every connection, without saying goodbye."""
        if self._thread is not None:
            self._injector.trigger(ApplicationEvent("halt"))
            self._thread.join(10)
            self._thread = None

    def on_halt(self, event):
        self._acceptor.close()
        for connection in self._connections:
            if connection.transport:
                connection.transport.close_tail()
                connection.transport.close_head()
        event.container.stop()

    def on_start(self, event):
        self._acceptor = event.container.listen(f"127.0.0.1:{self.port}")
        self._ready.set()

    def on_connection_opening(self, event):
        self._connections.append(event.connection)

    def on_link_opening(self, event):
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.max_message_size = self.max_size
        if link.is_sender and link.remote_source.address == "$cbs":
            self._replies[link.connection] = link
        elif not link.is_sender and self._entity(link) not in {"$cbs", *self.entities}:
            link.condition = None
            from proton import Condition

            link.condition = Condition("amqp:not-found", "the messaging entity could not be found")
            link.close()

    @staticmethod
    def _entity(link):
        return (link.remote_target.address or "").rpartition("/")[2]

    def on_message(self, event):
        message, entity = event.message, self._entity(event.link)
        if entity == "$cbs":
            self._accept(event)
            self.tokens.append(message.body)
            self._replies[event.connection].send(
                Message(
                    correlation_id=message.id,
                    address=message.reply_to,
                    properties={"status-code": 200, "status-description": "OK"},
                )
            )
            return
        self.deliveries += 1
        for one in self._messages(message, event):
            self._store(one)
        if self.answer:
            self._accept(event)

    @staticmethod
    def _accept(event):
        event.delivery.update(Delivery.ACCEPTED)
        event.delivery.settle()

    def _messages(self, message, event):
        return [message]

    def _store(self, message):
        if message.id in self._ids:
            self.copies += 1
            return
        self._ids.add(message.id)
        self.stored.append(message)


__all__ = ["ServiceBus", "symbol"]
