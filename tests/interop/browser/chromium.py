"""Chromium without a screen, with a virtual authenticator, driven over the DevTools protocol: a person who clicks and touches."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import threading
import urllib.request
from typing import TYPE_CHECKING

from websockets.sync.client import connect

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
]
CLICK = """
(function again() {
  const button = document.getElementById("touch"), said = document.getElementById("said");
  if (!button.hidden && said.textContent === "") button.click();
  setTimeout(again, 20);
})()
"""
PLACES = ("chromium", "chromium-browser", "google-chrome")


def found():
    return next((path for name in PLACES if (path := shutil.which(name))), None)


class Chromium:
    """A browser with one page and one authenticator in it; `seen` holds what the page's console and policy complained about."""

    def __init__(self, folder: Path, *, verifies=True):
        self._ids, self.seen, self._lock = itertools.count(1), [], threading.Lock()
        self.process = subprocess.Popen(
            [found(), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(folder)},
        )
        line = next(line for line in self.process.stderr if "DevTools listening on" in line)
        self._drain = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._drain.start()
        port = line.rsplit(":", 1)[1].partition("/")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
            page = next(one for one in json.load(answer) if one["type"] == "page")
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None, open_timeout=20)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": verifies, "isUserVerified": verifies}
        made = self.call("WebAuthn.addVirtualAuthenticator", options={**options, "automaticPresenceSimulation": True})
        self.authenticator = made["authenticatorId"]
        self.call("Page.addScriptToEvaluateOnNewDocument", source=f"addEventListener('DOMContentLoaded', () => {{ {CLICK} }})")

    def call(self, method, **parameters):
        with self._lock:
            number = next(self._ids)
            self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
            while True:
                said = json.loads(self._socket.recv(timeout=60))
                if said.get("id") == number:
                    assert "error" not in said, said
                    return said["result"]
                if said["method"] in {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
                    self.seen.append(json.dumps(said["params"]))

    def open(self, url):
        self.call("Page.navigate", url=url)
        return True

    def text(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get("value")

    def credentials(self):
        return self.call("WebAuthn.getCredentials", authenticatorId=self.authenticator)["credentials"]

    def close(self):
        self._socket.close()
        self.process.terminate()
        self.process.wait(20)
        self._drain.join(20)
        self.process.stderr.close()
