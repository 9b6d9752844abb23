// Puts each part that the server rendered anew into its place, and sends forms without leaving the page.
// What the reader has open, where the focus is and how far a part is scrolled stay as they are.
"use strict";

const connection = document.getElementById("connection");
const said = document.getElementById("said");

function replace(place, html) {
  const old = document.getElementById(place);
  if (!old) return;
  const open = new Set(Array.from(old.querySelectorAll("details[open]"), (one) => one.id));
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const inside = focused?.closest("[id]")?.id;
  const part = document.createElement("template");
  part.innerHTML = html; // the server escapes all that is not its own markup
  for (const one of part.content.querySelectorAll("details[id]")) one.open = open.has(one.id);
  old.replaceChildren(part.content);
  if (!focused) return;
  const next = (focused.id && document.getElementById(focused.id)) || document.getElementById(inside);
  const target = next || document.getElementById(`${place}-title`);
  (target?.tabIndex >= 0 || target?.hasAttribute("tabindex") ? target : null)?.focus({ preventScroll: true });
}

function listen() {
  const stream = new EventSource("/live");
  stream.onopen = () => {
    connection.textContent = "live";
    connection.className = "badge event";
  };
  stream.onerror = () => {
    connection.textContent = "disconnected";
    connection.className = "badge bad";
  };
  stream.onmessage = (message) => {
    const { place, html } = JSON.parse(message.data);
    replace(place, html);
  };
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  const action = event.submitter?.getAttribute("formaction") || form.getAttribute("action");
  try {
    const answer = await fetch(action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "X-Requested-By": "page" },
    });
    said.textContent = await answer.text();
    said.className = answer.ok ? "" : "bad";
  } catch {
    said.textContent = "The emulators do not answer: are they still running?";
    said.className = "bad";
  }
});

listen();
