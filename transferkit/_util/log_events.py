"""The names of log records: a closed, stable set for alerts and searches.

Each record has its name in the attribute `event`. Events of the stream are logged under their own kind
(`transfer.completed`). An adapter has its own enum, whose names begin with the provider's name.
"""

from __future__ import annotations

from enum import StrEnum
from typing import final

__all__ = ["LogEvent"]


@final
class LogEvent(StrEnum):
    """The records of the core. `docs/reference/telemetry.md` describes each and says what to do."""

    ADAPTER_FAILED = "adapter_failed"
    ANSWER_LOST = "answer_lost"
    ANSWER_UNRECORDED = "answer_unrecorded"
    CALLBACK_FAILED = "callback_failed"
    CALLBACK_HANDSHAKE = "callback_handshake"
    CALLBACK_MALFORMED = "callback_malformed"
    CALLBACK_NOT_CHECKED = "callback_not_checked"
    CALLBACK_NOT_OPENED = "callback_not_opened"
    CALLBACK_NOT_STORED = "callback_not_stored"
    CALLBACK_REFUSED = "callback_refused"
    CALLBACKS_UNVERIFIED = "callbacks_unverified"
    CLOCK_SKEW = "clock_skew"
    COMMIT_RETRIED = "commit_retried"
    CONFIG_VARIABLES_IGNORED = "config_variables_ignored"
    CONNECTION_LEASE_FAILED = "connection_lease_failed"
    CONNECTION_LOST = "connection_lost"
    CONNECTION_OPENED = "connection_opened"
    CONNECTION_WAITING = "connection_waiting"
    CONNECTION_YIELDED = "connection_yielded"
    EVENT_UNREADABLE = "event_unreadable"
    EVENTS_LOST = "events_lost"
    EXIT_CUT_SHORT = "exit_cut_short"
    EXIT_FAILED = "exit_failed"
    GROUP_EVENT_PARKED = "group_event_parked"
    GROUP_EVENT_STALE = "group_event_stale"
    GROUP_LEASE_FAILED = "group_lease_failed"
    GROUP_LEAVE_FAILED = "group_leave_failed"
    HANDLER_FAILED = "handler_failed"
    KEYS_FETCHED = "keys_fetched"
    KEYS_NOT_FETCHED = "keys_not_fetched"
    LIFESPAN_FAILED = "lifespan_failed"
    PRUNED = "pruned"
    PRUNE_FAILED = "prune_failed"
    RELAY_EVENT_REFUSED = "relay_event_refused"
    RELAY_RECOVERED = "relay_recovered"
    RELAY_SINK_FAILED = "relay_sink_failed"
    STORE_FAILED = "store_failed"
    STORE_NOT_NOTIFIED = "store_not_notified"
    SUBMISSION_ANSWERED = "submission_answered"
    TASK_FAILED = "task_failed"
    TELEMETRY_FAILED = "telemetry_failed"
    TELEMETRY_OFF = "telemetry_off"
    WORK_FAILED = "work_failed"
