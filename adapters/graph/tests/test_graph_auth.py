"""Tokens of requests to Graph: of which tenant, from which credential, and what happens without one.

`adapters/microsoft/tests` has the tests of the tokens themselves.
"""

import logging

import pytest
from support.entra import FixedCredential, Papers
from transferkit_graph import GraphAdapter, GraphSettings

from transferkit.events import FailureReason as Reason
from transferkit.identifiers import PhoneNumber
from transferkit.provider.results import Presence, Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.requests import Call, Transfer

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_TENANT = "5a1e0c5e-0000-4000-8000-00000000cccc"
IDENTITY = "1de00000-0000-4000-8000-00000000eeee"
SOMEONE = PhoneNumber("+14255550100")


def token_requests(emulator):
    """The tenants that tokens were requested of."""
    return [request.path.split("/")[1] for request in emulator.requests if request.path.endswith("/token")]


async def transferred(bench, submission, adapter, **more):
    call = bench.emulator.place_call(callback_url=bench.callback_url, **more)
    return await adapter.submit(submission(Transfer(call=call, to=SOMEONE)))


async def test_one_token_serves_many_requests(bench, submission):
    adapter = bench.adapter()
    for _ in range(3):
        assert isinstance(await transferred(bench, submission, adapter), Submitted)
    assert token_requests(bench.emulator) == [bench.table["tenant_id"]]


@pytest.mark.parametrize("named_by", ["submission", "call", "configuration", "authority"])
async def test_the_token_is_of_the_tenant_of_the_call(bench, submission, named_by):
    call_id = bench.emulator.place_call(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
    other = f"{bench.server.url}/{OTHER_TENANT}"
    settings = {
        "configuration": {"tenant_id": OTHER_TENANT},
        "authority": {"tenant_id": None, "authority": other},
    }
    call = Call("graph", call_id, tenant_id=OTHER_TENANT if named_by == "call" else None)
    sent = submission(
        Transfer(call=call, to=SOMEONE), tenant_id=OTHER_TENANT if named_by == "submission" else None
    )
    adapter = bench.adapter(**settings.get(named_by, {}))
    assert isinstance(await adapter.submit(sent), Submitted)
    assert token_requests(bench.emulator) == [OTHER_TENANT]


async def test_the_token_of_an_inspection_is_of_the_tenant_of_the_call(bench):
    call_id = bench.emulator.place_call(callback_url=bench.callback_url, tenant_id=OTHER_TENANT)
    adapter = bench.adapter()
    for asked, presence in [
        ({"call": Call("graph", call_id)}, Presence.UNKNOWN),
        ({"call": Call("graph", call_id, tenant_id=OTHER_TENANT)}, Presence.CONNECTED),
        ({"call": Call("graph", call_id), "tenant_id": OTHER_TENANT}, Presence.CONNECTED),
    ]:
        assert (await adapter.inspect(**asked)).presence is presence


async def test_a_revoked_token_is_replaced_by_the_next_request(bench, submission):
    adapter = bench.adapter()
    assert isinstance(await transferred(bench, submission, adapter), Submitted)
    bench.emulator.revoke_tokens()
    refused = await transferred(bench, submission, adapter)
    assert refused.result.reason is Reason.UNAUTHORIZED
    assert isinstance(await transferred(bench, submission, adapter), Submitted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215"),
        ({"client_id": "00000000-0000-4000-8000-00000000dddd"}, "AADSTS700016"),
    ],
)
async def test_a_refusal_of_the_authority_is_reported_with_its_message(bench, submission, settings, message):
    answer = await bench.adapter(**settings).submit(submission())
    assert isinstance(answer, Rejected)
    assert answer.result.reason is Reason.UNAUTHORIZED
    assert message in answer.result.message


async def test_a_tenant_that_does_not_exist_is_rejected(bench, submission):
    answer = await bench.adapter().submit(submission(tenant_id="no-such-tenant"))
    assert isinstance(answer, Rejected)
    assert answer.result.reason is Reason.UNAUTHORIZED
    assert "tenant_id" in answer.result.advice


@pytest.mark.parametrize("missing", ["tenant_id", "client_id", "client_secret"])
async def test_a_missing_key_is_named(submission, missing):
    given = {"tenant_id": "t", "client_id": "c", "client_secret": Secret(value="s"), missing: None}
    adapter = GraphAdapter(GraphSettings(**given))
    answer = await adapter.submit(submission())
    assert isinstance(answer, Rejected)
    assert answer.result.reason is Reason.UNAUTHORIZED
    assert f"providers.graph.{missing}" in answer.result.advice
    await adapter.aclose()


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_an_unusable_ca_file_is_named(submission, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    adapter = GraphAdapter(GraphSettings(tenant_id="t", client_id="c", ca_file=path))
    answer = await adapter.submit(submission())
    assert isinstance(answer, Rejected)
    assert "providers.graph.ca_file" in answer.result.advice


async def test_a_credential_object_authenticates_the_request(bench, submission):
    credential = FixedCredential(token=await bench.token())
    adapter = bench.adapter(client_secret=None, client_id=None, credential=credential)
    assert isinstance(await transferred(bench, submission, adapter), Submitted)
    assert credential.tenants == [bench.table["tenant_id"]]


async def test_the_check_uses_a_credential_object_without_a_tenant(bench):
    credential = FixedCredential(token=await bench.token())
    adapter = bench.adapter(client_secret=None, authority=None, tenant_id=None, credential=credential)
    assert [found.ok for found in await adapter.check()] == [True, True]
    assert credential.tenants == [None]


async def test_a_certificate_authenticates_the_application_and_is_never_shown(bench, submission, caplog):
    caplog.set_level(logging.DEBUG)
    papers, password = Papers.make(), "made-up password"
    bench.emulator.add_certificate(papers.public)
    adapter = bench.adapter(
        client_secret=None, certificate=papers.pem(password), certificate_password=password
    )
    assert isinstance(await transferred(bench, submission, adapter), Submitted)
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for text in (logged, repr(vars(adapter)), repr(bench.emulator.requests)):
        assert password not in text
        assert papers.private().splitlines()[1] not in text
    assertion = next(request.body for request in bench.emulator.requests if request.method == "POST")
    assert "client_assertion=***" in assertion


async def test_a_certificate_that_the_directory_does_not_know_is_rejected(bench, submission):
    adapter = bench.adapter(client_secret=None, certificate=Papers.make().pem())
    answer = await transferred(bench, submission, adapter)
    assert isinstance(answer, Rejected)
    assert "AADSTS700027" in answer.result.message
    assert "certificate" in answer.result.advice


async def test_no_secret_or_token_is_logged(bench, submission, caplog):
    caplog.set_level(logging.DEBUG)
    token = await bench.token()
    adapter = bench.adapter(client_secret=None, credential=FixedCredential(token=token))
    await transferred(bench, submission, adapter)
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "/transfer" in text, "the HTTP client logs what it sends"
    assert bench.table["client_secret"] not in text
    assert token not in text
    assert "+14255550100" not in text


# --- managed identities ---------------------------------------------------------------------------------


@pytest.fixture
def machine(bench, monkeypatch):
    """The emulator as the machine's own token endpoint."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", bench.server.url)
    bench.emulator.add_managed_identity()
    bench.emulator.add_managed_identity(IDENTITY)
    return bench


@pytest.mark.parametrize("identity", ["system", IDENTITY])
async def test_a_managed_identity_needs_neither_tenant_nor_client_id(machine, submission, identity):
    adapter = machine.adapter(
        client_secret=None, client_id=None, tenant_id=None, authority=None, managed_identity=identity
    )
    for _ in range(2):
        assert isinstance(await transferred(machine, submission, adapter), Submitted)
    (asked,) = [request for request in machine.emulator.requests if "metadata" in request.path]
    assert asked.query["resource"] == "https://graph.microsoft.com"
    assert asked.query.get("client_id") == (None if identity == "system" else identity)


async def test_an_identity_that_the_machine_does_not_have_is_rejected(machine, submission):
    adapter = machine.adapter(client_secret=None, managed_identity="another")
    answer = await transferred(machine, submission, adapter)
    assert isinstance(answer, Rejected)
    assert answer.result.reason is Reason.UNAUTHORIZED
    assert "managed_identity" in answer.result.advice


async def test_with_a_managed_identity_a_call_of_another_tenant_is_not_sent(machine, submission):
    adapter = machine.adapter(client_secret=None, managed_identity="system")
    answer = await adapter.submit(submission(tenant_id=OTHER_TENANT))
    assert isinstance(answer, Rejected)
    assert answer.result.reason is Reason.TENANT_MISMATCH
    assert "client_secret" in answer.result.advice
    assert machine.emulator.requests == ()


async def test_with_a_managed_identity_7505_advises_another_credential(machine, submission):
    adapter = machine.adapter(client_secret=None, tenant_id=None, authority=None, managed_identity="system")
    answer = await transferred(machine, submission, adapter, tenant_id=OTHER_TENANT)
    assert (answer.result.reason, answer.result.subcode) == (Reason.TENANT_MISMATCH, 7505)
    assert "managed identity" in answer.result.advice


MANAGED = GraphSettings(tenant_id="T1", managed_identity="system")
REGISTERED = GraphSettings(tenant_id="T1", client_id="c", client_secret=Secret(value="s"))


@pytest.mark.parametrize(
    ("settings", "tenant", "problems"),
    [
        (MANAGED, "t2", ["call.tenant_id"]),
        (MANAGED, "t1", []),
        (MANAGED, None, []),
        (GraphSettings(managed_identity="system"), "t2", []),
        (REGISTERED, "t2", []),
    ],
)
async def test_the_plan_refuses_a_call_that_a_managed_identity_does_not_reach(settings, tenant, problems):
    call = Call("graph", "57dab8b1-894c-409a-b240-bd8beae78896", tenant_id=tenant)
    request = Transfer(call=call, to=SOMEONE)
    assert [problem.field for problem in GraphAdapter(settings).plan(request).problems] == problems
