"""Requests of the blocking client, and what it returns."""

import pytest
from support.blocking import ANSWERS, CALL, FAKE, SILENT, in_loop, our_threads, say, until

import transferkit
from transferkit import (
    CallbackRequest,
    Client,
    ConfigError,
    FailureReason,
    InvalidRequest,
    PhoneNumber,
    Redirect,
    RedirectCompleted,
    RedirectExpired,
    Transfer,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
    TransferInProgress,
    TransferNotFound,
    parse_identifier,
)
from transferkit.provider.facts import Signal
from transferkit.testing import scenario


def test_a_transfer_returns_a_handle_with_its_outcome(client):
    transfer = client.transfer(CALL, to=ANSWERS, operation_context="case 42")
    outcome = transfer.outcome(timeout=10)
    assert isinstance(outcome, TransferCompleted)
    assert outcome.transfer_id == transfer.id
    assert transfer.call.id == CALL
    assert transfer.request.operation_context == "case 42"
    assert repr(transfer) == f"<Transfer {transfer.id} of fake:{CALL}>"
    assert client.history(transfer.id)[0].kind == "transfer.requested"


def test_a_redirect_returns_a_handle_with_its_outcome(client, fake):
    (incoming, *_) = in_loop_ring(client, fake)
    redirect = client.redirect(incoming, to=ANSWERS)
    assert isinstance(redirect.outcome(10), RedirectCompleted | RedirectExpired)


def in_loop_ring(client, fake):
    client.run_due()  # opens it
    return in_loop(client, lambda: fake.ring(CALL, source=PhoneNumber("+14255550123"), target=ANSWERS))


def test_a_failure_is_an_outcome(client):
    outcome = client.submit(Transfer(call=CALL, to=scenario("busy").number)).outcome(10)
    assert isinstance(outcome, TransferFailed)
    assert outcome.reason is FailureReason.BUSY


def test_a_stored_transfer_is_found_by_its_id(client):
    transfer = client.transfer(CALL, to=ANSWERS)
    assert client.get(transfer.id).outcome(10) == client.outcome(transfer.id, 10)
    redirect = client.submit(Redirect(call="another", to=ANSWERS))
    assert client.get(redirect.id).request == redirect.request
    with pytest.raises(TransferNotFound):
        client.get("unheard of")


def test_a_timeout_leaves_the_transfer_open(client, fake):
    transfer = client.transfer(CALL, to=SILENT)
    with pytest.raises(TimeoutError):
        transfer.outcome(timeout=0.01)
    with pytest.raises(TransferInProgress):
        client.transfer(CALL, to=ANSWERS)
    say(client, fake, Signal.SUCCEEDED)
    assert isinstance(transfer.outcome(10), TransferCompleted)


def test_run_due_expires_a_transfer_by_the_clients_clock(client, clock):
    transfer = client.transfer(CALL, to=SILENT)
    clock.advance(500)
    client.run_due()
    until(lambda: (clock.advance(5), client.run_due()) and any_outcome(client, transfer))
    assert isinstance(transfer.outcome(10), TransferExpired)


def any_outcome(client, transfer):
    return any(event.kind == "transfer.expired" for event in client.history(transfer.id))


def test_a_callback_is_received(client):
    response = client.receive(CallbackRequest(method="POST", url="/unknown", headers={}, body=b"{}"))
    assert response.status == 404


def test_a_preview_opens_nothing(client, store):
    assert client.preview(Transfer(call=CALL, to=ANSWERS)).url == f"fake://calls/{CALL}/transfer"
    assert store.opened == 0


def test_an_invalid_request_is_raised_in_the_calling_thread(client):
    with pytest.raises(InvalidRequest, match="telepathy"):
        client.transfer(transferkit.Call("telepathy", CALL), to=ANSWERS)


def test_a_target_in_another_form_is_refused_with_the_right_form(client):
    with pytest.raises(InvalidRequest, match="a plus sign, the country code and the number"):
        client.transfer(CALL, to=parse_identifier("tel:+14255550123"))
    with pytest.raises(InvalidRequest, match=r"to\[1\]: a skype cannot be used here"):
        client.redirect(CALL, to=[ANSWERS, parse_identifier("skype:agent")])


def test_a_wrong_configuration_is_raised_at_once():
    with pytest.raises(ConfigError, match="provider"):
        Client.from_config({"provider": "telepathy"})


def test_making_a_client_starts_no_thread():
    Client.from_config(FAKE)
    assert our_threads() == []
