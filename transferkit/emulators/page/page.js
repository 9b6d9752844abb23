// Replaces the parts that have changed, and submits forms without leaving the page. What is open, the focus and the
// scroll position are preserved.
"use strict";

const connection = document.getElementById("connection");
const message = document.getElementById("message");

function replace(place, html) {
  const old = document.getElementById(place);
  if (!old) return;
  const open = new Map(Array.from(old.querySelectorAll("details[id]"), (one) => [one.id, one.open]));
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const inside = focused?.closest("[id]")?.id;
  const part = document.createElement("template");
  part.innerHTML = html; // the server has escaped it
  for (const one of part.content.querySelectorAll("details[id]")) one.open = open.get(one.id) ?? one.open;
  old.replaceChildren(part.content);
  if (!focused) return;
  const next = (focused.id && document.getElementById(focused.id)) || document.getElementById(inside);
  const target = next || document.getElementById(`${place}-title`);
  (target?.tabIndex >= 0 || target?.hasAttribute("tabindex") ? target : null)?.focus({ preventScroll: true });
}

function show(word, tone) {
  connection.textContent = word;
  connection.className = `badge ${tone}`;
}

function listen() {
  const stream = new EventSource("/live");
  stream.onopen = () => show("live", "good");
  stream.onerror = () => show("disconnected", "bad");
  stream.onmessage = (update) => {
    const { place, html } = JSON.parse(update.data);
    replace(place, html);
  };
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  const action = event.submitter?.getAttribute("formaction") || form.getAttribute("action");
  try {
    const response = await fetch(action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "X-Requested-By": "page" },
    });
    message.textContent = await response.text();
    message.className = response.ok ? "" : "bad";
  } catch {
    message.textContent = "The emulators do not respond. Are they still running?";
    message.className = "bad";
  }
});

listen();
