"""The page at / in headless Chromium: it asks, shows the answer as it comes and figures beside it."""
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from browser import CHROMIUM, Browser  # noqa: E402

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


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
