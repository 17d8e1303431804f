"""The page at / in headless Chromium: it asks, shows the answer as it comes and figures beside it."""
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


class Browser:
    """Chromium by its pipe for debugging: JSON with a NUL behind it, in by descriptor 3, out by 4."""

    def __init__(self, folder):
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir=%s" % folder]
        self.process = subprocess.Popen(["bash", "-c", 'exec "$0" "$@" 3<&%d 4>&%d' % (to_read, to_write), CHROMIUM] + flags,
                                        pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.rest, self.numbers, self.session = b"", itertools.count(1), None

    def read(self):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.back], [], [], 60)
            more = os.read(self.back, 1 << 16) if ready else b""
            if not more:
                pytest.skip("chromium does not run here")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address, width=1200):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=address)

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression, seconds=60):
        until = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < until, self.value("document.body.innerText")
            time.sleep(0.05)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.back)


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("width", [400, 1200])
def test_a_conversation_in_a_browser(server, browser, width):
    before = server.metrics()["distill_tokens_total"]
    browser.open("http://127.0.0.1:%d/#say=Tell%%20me%%20about%%20a%%20cat&max_tokens=8" % server.port, width)
    browser.wait_for("document.querySelector('.assistant .figures')?.textContent")
    assert browser.value("document.getElementById('name').textContent") == "small"
    assert browser.value("document.getElementById('about').textContent") == "context of 256 tokens"
    assert browser.value("document.querySelector('.user .text').textContent") == "Tell me about a cat"
    figures = browser.value("document.querySelector('.assistant .figures').textContent")
    assert re.search(r"^first token \d+ ms( · [\d.]+ tokens/s)? · \d+ tokens · prompt \d+", figures), figures
    assert browser.value("document.documentElement.scrollWidth <= innerWidth"), "it is wider than its window"
    browser.value("document.getElementById('text').value = 'And then?'; document.getElementById('form').requestSubmit()")
    browser.wait_for("document.querySelectorAll('.assistant .figures')[1]?.textContent")
    assert "kept)" in browser.value("document.querySelectorAll('.assistant .figures')[1].textContent"), "the second turn was read anew"
    assert server.metrics()["distill_tokens_total"] > before
    browser.value("document.getElementById('reset').click()")
    assert browser.value("document.querySelectorAll('.turn').length") == 0


def test_an_answer_is_stopped(server, browser):
    browser.open("http://127.0.0.1:%d/#say=Tell%%20me&max_tokens=200&system=Be%%20long" % server.port)
    browser.wait_for("document.querySelector('.assistant .text')?.textContent")
    browser.value("document.getElementById('send').click()")
    browser.wait_for("document.getElementById('send').textContent === 'Send'")
    server.wait_for("distill_requests_running", 0)


def test_a_page_that_needs_a_key(serve, browser):
    browser.open("http://127.0.0.1:%d/" % serve("--api-key-env", "MY_KEY", MY_KEY="secret").port)
    browser.wait_for("document.getElementById('about').textContent.includes('an API key is wanted')")
    assert browser.value("document.getElementById('more').open")
    browser.value("document.getElementById('key').value = 'secret'; document.getElementById('key').dispatchEvent(new Event('change'))")
    browser.wait_for("document.getElementById('about').textContent.startsWith('context of')")
