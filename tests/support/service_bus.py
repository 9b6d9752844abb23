"""A stand-in for Azure Service Bus: enough of AMQP 1.0 that Microsoft's SDK sends to it unchanged.

It has what a sender uses: SASL, `$cbs` (tokens), the size limit of a link, batches, and duplicate detection
by message id, as the AMQP protocol guide of Service Bus describes them
(https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide).
"""

import socket
import threading

from proton import Condition, Data, Delivery, Message
from proton.handlers import IncomingMessageHandler, MessagingHandler
from proton.reactor import ApplicationEvent, Container, EventInjector

DATA = 0x75
"""The descriptor of a section with bytes."""


class ServiceBus(MessagingHandler):
    """A server on a port of its own, in a thread. `stored` are the messages, by proton's class."""

    def __init__(self, *, max_size=262_144, entities=("calls",)):
        super().__init__(auto_accept=False)
        self.handlers = [each for each in self.handlers if not isinstance(each, IncomingMessageHandler)]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.max_size = max_size
        self.entities = entities
        self.stored = []
        self.copies = 0
        self.deliveries = 0
        self.tokens = 0
        self.confirms = True
        """Whether it confirms what it stores."""
        self._ids = set()
        self._replies = {}
        self._connections = []
        self._thread = None

    @property
    def connection_string(self):
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=relay;SharedAccessKey=c2VjcmV0;"
            "UseDevelopmentEmulator=true;"
        )

    def start(self):
        self._ready = threading.Event()
        self._injector = EventInjector()
        self._container = Container(self)
        self._container.selectable(self._injector)
        self._thread = threading.Thread(target=self._container.run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self):
        """Close the port and every connection at once. What is stored stays."""
        if self._thread is not None:
            self._injector.trigger(ApplicationEvent("halt"))
            self._thread.join(10)
            assert not self._thread.is_alive()
            self._thread = None

    def on_halt(self, _):
        self._acceptor.close()
        for connection in self._connections:
            if connection.transport:
                connection.transport.close_tail()
                connection.transport.close_head()
        self._connections.clear()
        self._injector.close()
        self._container.stop()

    def on_start(self, event):
        self._acceptor = event.container.listen(f"127.0.0.1:{self.port}")
        self._ready.set()

    def on_connection_opening(self, event):
        self._connections.append(event.connection)

    def on_link_opening(self, event):
        link = event.link
        link.source.copy(link.remote_source)
        link.max_message_size = self.max_size
        if self._is_known(link):
            link.target.copy(link.remote_target)
        if link.is_sender:
            self._replies[link.connection] = link

    def on_link_local_open(self, event):
        if not self._is_known(event.link):  # detached after it was attached
            event.link.condition = Condition("amqp:not-found", "The messaging entity could not be found.")
            event.link.close()

    def _is_known(self, link):
        return link.is_sender or _entity(link) in {"$cbs", *self.entities}

    def on_delivery(self, event):
        delivery, link = event.delivery, event.link
        if not link.is_receiver or not delivery.readable or delivery.partial:
            return
        content = link.recv(delivery.pending)
        link.advance()
        if link.state & link.LOCAL_CLOSED:
            return
        if _entity(link) == "$cbs":
            self.tokens += 1
            self._reply(event.connection, _message(content))
        else:
            self.deliveries += 1
            for message in _messages(content):
                self._store(message)
            if not self.confirms:
                return
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()

    def _reply(self, connection, request):
        status = {"status-code": 200, "status-description": "OK"}
        reply = Message(correlation_id=request.id, address=request.reply_to, properties=status)
        self._replies[connection].send(reply)

    def _store(self, message):
        if message.id in self._ids:
            self.copies += 1
        else:
            self._ids.add(message.id)
            self.stored.append(message)


def _entity(link):
    return (link.remote_target.address or "").rpartition("/")[2]


def _message(content):
    message = Message()
    message.decode(content)
    return message


def _messages(content):
    """The messages of one transfer. In a batch, each data section is an encoded message."""
    found, rest = [], content
    while rest:
        data = Data()
        rest = rest[data.decode(rest) :]
        data.rewind()
        data.next()
        section = data.get_py_described()
        if int(section.descriptor) == DATA:
            found.append(bytes(section.value))
    if all(each.startswith(b"\0") for each in found):
        return [_message(each) for each in found]
    return [_message(content)]
