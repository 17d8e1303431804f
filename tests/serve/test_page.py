"""The page at / in headless Chromium: it asks, shows the answer as it comes and figures beside it."""
import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def look(server, tmp_path, what):
    done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=%s" % tmp_path,
                           "--virtual-time-budget=15000", "--dump-dom", "http://127.0.0.1:%d/%s" % (server.port, what)],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0 or "<html" not in done.stdout:
        pytest.skip("chromium does not run here: %s" % done.stderr[-200:])
    return done.stdout


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_a_conversation_in_a_browser(server, tmp_path):
    before = server.metrics()["distill_tokens_total"]
    page = look(server, tmp_path, "#say=Tell%20me%20about%20a%20cat")
    assert re.search(r'<h1 id="name">small</h1>', page) and "context of 256 tokens" in page
    assert re.search(r'<div class="turn user"><div class="text">Tell me about a cat</div>', page)
    answer = re.search(r'<div class="turn assistant"><div class="text">(.+?)</div><div class="figures">(.+?)</div>', page, re.S)
    assert answer and answer.group(1).strip(), page[-3000:]
    assert re.search(r"first token \d+ ms · [\d.]+ tokens/s · \d+ tokens · prompt \d+", answer.group(2)), answer.group(2)
    assert server.metrics()["distill_tokens_total"] > before


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_a_page_that_needs_a_key(serve, tmp_path):
    page = look(serve("--api-key-env", "MY_KEY", MY_KEY="secret"), tmp_path, "")
    assert "an API key is wanted" in page and re.search(r'<details id="more" open', page)
