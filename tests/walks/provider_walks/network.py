"""What lies between a provider and the application: delay, loss, repetition, reordering, merged bodies."""

from attrs import define, frozen


@frozen(kw_only=True)
class Conditions:
    """How rough one walk is. Chances are from 0 to 1.

    `calm`: nothing is lost, and every delay is far below every deadline.
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
    def draw(cls, chance):
        if chance.random() < 0.3:
            return cls(calm=True, merges=chance.random() < 0.3)
        return cls(
            calm=False,
            loss=chance.choice([0.0, 0.1, 0.3]),
            repeats=chance.choice([0.0, 0.2, 0.5]),
            slow=chance.choice([0.1, 0.3]),
            very_slow=chance.choice([0.0, 0.1, 0.3, 0.5]),
            merges=chance.random() < 0.3,
            numbered=chance.random() < 0.9,
            restarts=chance.random() < 0.06,
        )


@define(eq=False)
class Letter:
    """One HTTP request with callbacks: where it goes, what is in it, and what the elements say."""

    url: str
    headers: dict
    body: bytes
    sayings: tuple


@define(eq=False)
class Saying:
    """One element of a body, and what it says: that a call has ended, or how an order ended."""

    element: dict
    at: float
    ended_leg: object = None
    verdict_of: object = None


class Network:
    """Delivers what providers post, as the conditions have it."""

    def __init__(self, walk):
        self._walk = walk
        self._waiting = {}
        self.sayings = []
        self.lost = 0
        self.misleading = 0
        """How many verdicts were delivered while another transfer was open."""

    def post(self, url, element, *, ended_leg=None, verdict_of=None):
        """Send an element of a callback, merged with what is posted to the same address at that time."""
        saying = Saying(element, self._walk.now, ended_leg, verdict_of)
        self.sayings.append(saying)
        if not self._walk.conditions.merges:
            self._send(url, (saying,))
            return
        if url not in self._waiting:
            self._waiting[url] = []
            self._walk.later(self._walk.chance.uniform(0, 2), self._flush, url)
        self._waiting[url].append(saying)

    def _flush(self, url):
        sayings = self._waiting.pop(url)
        self._walk.chance.shuffle(sayings)
        self._send(url, tuple(sayings))

    def _send(self, url, sayings):
        chance, conditions, provider = self._walk.chance, self._walk.conditions, self._walk.provider
        headers, body = provider.write([saying.element for saying in sayings])
        letter = Letter(url, headers, body, sayings)
        if chance.random() < conditions.loss:
            self.lost += 1
            self._walk.note("lost", letter)
        else:
            self._walk.later(self.delay(), self._arrive, letter)
        while chance.random() < conditions.repeats:
            copy = letter
            if not conditions.calm:
                headers, body = provider.rewrite(letter)
                copy = Letter(url, headers, body, sayings)
            self._walk.later(
                self.delay() + chance.choice([0, 0, 1, 30, 200]) * (not conditions.calm), self._arrive, copy
            )

    def delay(self):
        """Seconds until a callback arrives."""
        chance, conditions = self._walk.chance, self._walk.conditions
        drawn = chance.random()
        if drawn < conditions.very_slow:
            return chance.uniform(12, 250)
        if drawn < conditions.very_slow + conditions.slow:
            return chance.uniform(0.5, 12)
        return chance.uniform(0.01, 0.5)

    def _arrive(self, letter, tries=5):
        self._walk.spawn(self._deliver(letter, tries))

    async def _deliver(self, letter, tries):
        told = {one.verdict_of.owner for one in letter.sayings if one.verdict_of is not None}
        if self._walk.open_id is not None and told - {self._walk.open_id}:
            self.misleading += 1
        accepted = await self._walk.receive(letter)
        if accepted:
            for saying in letter.sayings:
                leg = saying.ended_leg
                if leg is not None and leg.end_delivered_at is None:
                    leg.end_delivered_at = self._walk.now
        elif tries:  # the sender tries again, as far as it tries at all
            self._walk.later(self._walk.chance.uniform(1, 20), self._arrive, letter, tries - 1)
