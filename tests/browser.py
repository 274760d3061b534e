"""A headless Chromium driven through chromedriver, with the standard library alone: W3C WebDriver over HTTP."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]
KEYS = {
    "down": "\ue015",
    "right": "\ue014",
    "left": "\ue012",
    "home": "\ue011",
    "end": "\ue010",
    "tab": "\ue004",
    "space": " ",
}


class Browser:
    """A session of the browser at chromedriver's address."""

    def __init__(self, address: str, profile: str) -> None:
        self.address = address
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": CHROMIUM}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.address += (
            f"/session/{self.call('POST', '/session', {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"
        )

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error

    def open(self, url: str, width: int, scheme: str = "light", height: int = 900) -> None:
        """Opens a page in a window of this width, for a reader who prefers this colour scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        self.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self.call("POST", "/url", {"url": url})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script: str, *arguments: object) -> Any:
        """What the script returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, element: str, *keys: str) -> None:
        """Keys pressed on the element of this id."""
        self.run("document.getElementById(arguments[0]).focus()", element)
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def log(self) -> list[dict[str, Any]]:
        """The console since it was last asked for."""
        return self.call("POST", "/se/log", {"type": "browser"})


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that is started, and ended again."""
    assert DRIVER is not None
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert driver.stdout is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        try:
            line = next(line for line in driver.stdout if "successfully on port" in line)
            port = int(line.strip().rstrip(".").split()[-1])
            value = Browser(f"http://127.0.0.1:{port}", profile)
            try:
                yield value
            finally:
                value.call("DELETE", "")
                time.sleep(0.2)  # for the last files of the profile
        finally:
            driver.terminate()
            driver.wait()
            driver.stdout.close()
