"""The network between a provider and the application: delay, loss, repetition, reordering, merged bodies."""

from attrs import define, frozen


@frozen(kw_only=True)
class Conditions:
    """The conditions of one walk. Probabilities are from 0 to 1.

    `calm`: nothing is lost, and every delay is much shorter than every deadline.
    """

    calm: bool
    loss: float = 0.0
    repeats: float = 0.1
    slow: float = 0.0
    very_slow: float = 0.0
    merges: bool = False
    numbered: bool = True
    restarts: bool = False

    @classmethod
    def draw(cls, random):
        if random.random() < 0.3:
            return cls(calm=True, merges=random.random() < 0.3)
        return cls(
            calm=False,
            loss=random.choice([0.0, 0.1, 0.3]),
            repeats=random.choice([0.0, 0.2, 0.5]),
            slow=random.choice([0.1, 0.3]),
            very_slow=random.choice([0.0, 0.1, 0.3, 0.5]),
            merges=random.random() < 0.3,
            numbered=random.random() < 0.9,
            restarts=random.random() < 0.06,
        )


@define(eq=False)
class Delivery:
    """One HTTP request that delivers callbacks."""

    url: str
    headers: dict
    body: bytes
    elements: tuple


@define(eq=False)
class Element:
    """One callback: an element of a body. It may report the end of a call or the verdict of a transfer."""

    content: dict
    at: float
    ended_leg: object = None
    verdict_of: object = None


class Network:
    """Delivers callbacks under the conditions of the walk."""

    def __init__(self, walk):
        self._walk = walk
        self._waiting = {}
        self.elements = []
        self.lost = 0
        self.misleading = 0
        """The number of verdicts that were delivered while another transfer was open."""

    def post(self, url, content, *, ended_leg=None, verdict_of=None):
        """Send a callback, in one body with others to the same address if the conditions merge them."""
        element = Element(content, self._walk.now, ended_leg, verdict_of)
        self.elements.append(element)
        if not self._walk.conditions.merges:
            self._send(url, (element,))
            return
        if url not in self._waiting:
            self._waiting[url] = []
            self._walk.later(self._walk.random.uniform(0, 2), self._flush, url)
        self._waiting[url].append(element)

    def _flush(self, url):
        elements = self._waiting.pop(url)
        self._walk.random.shuffle(elements)
        self._send(url, tuple(elements))

    def _send(self, url, elements):
        random, conditions, provider = self._walk.random, self._walk.conditions, self._walk.provider
        headers, body = provider.write([element.content for element in elements])
        delivery = Delivery(url, headers, body, elements)
        if random.random() < conditions.loss:
            self.lost += 1
            self._walk.note("lost", delivery)
        else:
            self._walk.later(self.delay(), self._arrive, delivery)
        while random.random() < conditions.repeats:
            copy = delivery
            if not conditions.calm:
                headers, body = provider.rewrite(delivery)
                copy = Delivery(url, headers, body, elements)
            self._walk.later(
                self.delay() + random.choice([0, 0, 1, 30, 200]) * (not conditions.calm), self._arrive, copy
            )

    def delay(self):
        """Return the seconds until a callback arrives."""
        random, conditions = self._walk.random, self._walk.conditions
        drawn = random.random()
        if drawn < conditions.very_slow:
            return random.uniform(12, 250)
        if drawn < conditions.very_slow + conditions.slow:
            return random.uniform(0.5, 12)
        return random.uniform(0.01, 0.5)

    def _arrive(self, delivery, tries=5):
        self._walk.spawn(self._deliver(delivery, tries))

    async def _deliver(self, delivery, tries):
        transfers = {one.verdict_of.owner for one in delivery.elements if one.verdict_of is not None}
        if self._walk.open_id is not None and transfers - {self._walk.open_id}:
            self.misleading += 1
        accepted = await self._walk.receive(delivery)
        if accepted:
            for element in delivery.elements:
                leg = element.ended_leg
                if leg is not None and leg.end_delivered_at is None:
                    leg.end_delivered_at = self._walk.now
        elif tries:  # the provider retries
            self._walk.later(self._walk.random.uniform(1, 20), self._arrive, delivery, tries - 1)
