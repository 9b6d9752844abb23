// Microsoft's JavaScript SDKs as clients of the emulators, over https. `test_javascript_sdks.py` starts both.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { CallAutomationClient } from "@azure/communication-call-automation";
import { Client } from "@microsoft/microsoft-graph-client";

const { emulators, providers } = JSON.parse(readFileSync(process.env.EMULATORS, "utf8"));
const BUSY = "+14255550186";
const ANSWERS = "+14255550100";
const callbacks = [];
let receiver;
let callbackUrl;

before(async () => {
  receiver = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const path = request.url.replace(/\?.*/, ""); // Event Grid's has the subscription's secret
    const one = { path, signed: Boolean(request.headers.authorization), body: JSON.parse(body) };
    callbacks.push(one);
    const validationResponse = one.body[0]?.data?.validationCode;
    response.setHeader("Content-Type", "application/json");
    response.end(validationResponse ? JSON.stringify({ validationResponse }) : "");
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  callbackUrl = `http://127.0.0.1:${receiver.address().port}`;
});

after(() => receiver.close());

async function control(provider, method, path, body) {
  const response = await fetch(emulators[provider].control_api + path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, text);
  return text ? JSON.parse(text) : null;
}

const placeCall = async (provider, name) =>
  (await control(provider, "POST", "calls", { callback_url: `${callbackUrl}/${name}` })).id;
const executions = async (provider, id) =>
  (await control(provider, "GET", "calls")).find((call) => call.id === id).executions;

// The first callback to this path for which `find` returns something.
async function callback(path, find) {
  for (let tries = 0; tries < 500; tries += 1) {
    const found = callbacks.filter((one) => one.path === path).find(find);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`no such callback to ${path}: ${JSON.stringify(callbacks)}`);
}

// --- Azure Communication Services -----------------------------------------------------------------------------------

const acs = () => new CallAutomationClient(providers.acs.connection_string);
const reports = (type) => ({ body }) => body.some?.((event) => event.type === `Microsoft.Communication.${type}`);

test("the ACS SDK reads the properties of a call", async () => {
  const id = await placeCall("acs", "acs-properties");
  const properties = await acs().getCallConnection(id).getCallConnectionProperties();
  assert.equal(properties.callConnectionState, "connected");
  assert.equal(properties.callConnectionId, id);
});

test("the ACS SDK transfers a call, and its signed callback reports the success", async () => {
  const id = await placeCall("acs", "acs-transfer");
  const result = await acs()
    .getCallConnection(id)
    .transferCallToParticipant({ phoneNumber: ANSWERS }, { operationContext: "case 42" });
  assert.equal(result.operationContext, "case 42");
  const accepted = await callback("/acs-transfer", reports("CallTransferAccepted"));
  assert.equal(accepted.signed, true);
  assert.equal(await executions("acs", id), 1);
});

test("the ACS SDK's retry after a lost response executes the transfer once", async () => {
  const id = await placeCall("acs", "acs-lost");
  await control("acs", "POST", "faults", { fault: `reset_after,match=${id}` });
  await acs().getCallConnection(id).transferCallToParticipant({ phoneNumber: ANSWERS });
  await callback("/acs-lost", reports("CallTransferAccepted"));
  assert.equal(await executions("acs", id), 1);
});

test("a busy target is a failed transfer on ACS", async () => {
  const id = await placeCall("acs", "acs-busy");
  await acs().getCallConnection(id).transferCallToParticipant({ phoneNumber: BUSY });
  const failed = await callback("/acs-busy", reports("CallTransferFailed"));
  assert.equal(failed.body[0].data.resultInformation.code, 486);
});

test("the ACS SDK redirects an incoming call", async () => {
  const ringing = await control("acs", "POST", "ring", { callback_url: `${callbackUrl}/acs-ring` });
  await callback("/acs-ring", ({ body }) => body[0].eventType === "Microsoft.Communication.IncomingCall");
  await acs().redirectCall(ringing.incoming_context, { targetParticipant: { phoneNumber: ANSWERS } });
  assert.equal(await executions("acs", ringing.call_id), 1);
});

test("the ACS SDK is refused with another resource's key", async () => {
  const id = await placeCall("acs", "acs-key");
  const other = providers.acs.connection_string.replace(/accesskey=.*/, "accesskey=b3RoZXI=");
  await assert.rejects(new CallAutomationClient(other).getCallConnection(id).getCallConnectionProperties(), {
    statusCode: 401,
  });
});

// --- Microsoft Graph -------------------------------------------------------------------------------------------------

async function getAccessToken() {
  const { authority, client_id, client_secret } = providers.graph;
  const scope = "https://graph.microsoft.com/.default";
  const response = await fetch(`${authority}/oauth2/v2.0/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "client_credentials", client_id, client_secret, scope }),
  });
  return (await response.json()).access_token;
}

const graph = () =>
  Client.initWithMiddleware({
    baseUrl: `${providers.graph.base_url}/`,
    customHosts: new Set(["127.0.0.1"]),
    authProvider: { getAccessToken },
  });
const phone = (id) => ({
  transferTarget: {
    "@odata.type": "#microsoft.graph.invitationParticipantInfo",
    identity: {
      "@odata.type": "#microsoft.graph.identitySet",
      phone: { "@odata.type": "#microsoft.graph.identity", id },
    },
  },
});
const ends = (subcode) => ({ body }) =>
  body.value?.some(({ resourceData }) => resourceData.resultInfo?.subcode === subcode);

test("the Graph SDK transfers a call, and its signed notification reports the success", async () => {
  const id = await placeCall("graph", "graph-transfer");
  await graph().api(`/communications/calls/${id}/transfer`).post(phone(ANSWERS));
  const ended = await callback("/graph-transfer", ends(7015));
  assert.equal(ended.signed, true);
  assert.equal(await executions("graph", id), 1);
});

test("a ringing target can be made to answer by the control API", async () => {
  const id = await placeCall("graph", "graph-manual");
  await graph().api(`/communications/calls/${id}/transfer`).post(phone("+14255550102"));
  while (!(await control("graph", "GET", "calls")).find((call) => call.id === id).target_rings);
  assert.deepEqual(await control("graph", "POST", `calls/${id}/answer`), { rang: true });
  await callback("/graph-manual", ends(7015));
});

test("the Graph SDK reads a call, and an unknown call is 404", async () => {
  const id = await placeCall("graph", "graph-read");
  const call = await graph().api(`/communications/calls/${id}`).get();
  assert.equal(call.state, "established");
  const unknown = graph().api("/communications/calls/411f0b00-dc73-4528-a9e6-968ba983d2a1").get();
  await assert.rejects(unknown, { statusCode: 404 });
});
