"""The page that asks an authenticator: one HTML, one script, one style, nothing from elsewhere."""

from __future__ import annotations

from typing import Final

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hermetic</title>
<link rel="stylesheet" href="page.css">
<script src="page.js" defer></script>
</head>
<body>
<main>
<h1 id="title">Hermetic</h1>
<dl id="lines"></dl>
<button id="touch" hidden>Touch your authenticator</button>
<p id="said" role="status" aria-live="polite"></p>
</main>
</body>
</html>
"""

STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 52rem; padding: 0 1rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: #555; }
dd { margin: 0; font-family: ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
button { font: inherit; padding: .6rem 1.2rem; }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161616; } dt { color: #aaa; } }
"""

SCRIPT: Final = """"use strict";
const raw = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
const text = (buffer) => buffer ? btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replace(/[+]/g, "-").replace(/[/]/g, "_").replace(/=+$/, "") : "";
const element = (name) => document.getElementById(name);
const say = (words) => { element("said").textContent = words; };

function options(step) {
  const given = structuredClone(step.options);
  given.challenge = raw(given.challenge);
  if (given.user) given.user.id = raw(given.user.id);
  for (const list of ["allowCredentials", "excludeCredentials"])
    for (const one of given[list] || []) one.id = raw(one.id);
  return { publicKey: given };
}

async function touch(step) {
  try {
    if (step.kind === "create") {
      const made = await navigator.credentials.create(options(step));
      return { client: text(made.response.clientDataJSON), attestation: text(made.response.attestationObject) };
    }
    const got = await navigator.credentials.get(options(step));
    return {
      credential: text(got.rawId), client: text(got.response.clientDataJSON),
      authenticator: text(got.response.authenticatorData), signature: text(got.response.signature),
      user: text(got.response.userHandle),
    };
  } catch (error) {
    return { error: error.name };
  }
}

function show(step) {
  element("title").textContent = step.title;
  const list = element("lines");
  list.replaceChildren();
  for (const [name, value] of step.lines) {
    const term = document.createElement("dt"), about = document.createElement("dd");
    term.textContent = name;
    about.textContent = value;
    list.append(term, about);
  }
  element("touch").hidden = false;
}

async function run() {
  for (;;) {
    const answer = await fetch("next", { cache: "no-store" });
    if (answer.status === 204) continue;
    const next = await answer.json();
    if (next.done) {
      element("touch").hidden = true;
      say(next.done);
      return;
    }
    show(next.step);
    say("");
    await new Promise((resolve) => element("touch").addEventListener("click", resolve, { once: true }));
    say("Waiting for your authenticator.");
    const said = await touch(next.step);
    await fetch("answer", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });
    element("touch").hidden = true;
  }
}

run().catch(() => { element("touch").hidden = true; say("The command has ended. You may close this page."); });
"""
