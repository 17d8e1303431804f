"""A server that runs, and clients of it: http.client for what is asked properly, a bare socket for what is not."""
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import time


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    @property
    def events(self):
        """Of a stream; it has to end with [DONE]."""
        parts = self.body.decode().split("\n\n")
        assert parts[-2:] == ["data: [DONE]", ""], parts[-3:]
        return [json.loads(part[len("data: "):]) for part in parts[:-2]]


class Server:
    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
        ready, _, _ = select.select([self.process.stdout], [], [], 120)
        line = self.process.stdout.readline() if ready else ""
        found = re.search(r"at http://([\d.]+):(\d+)/v1 ", line)
        if not found:
            self.process.kill()
            raise AssertionError("no server: %r %r" % (line, self.process.communicate()))
        self.host, self.port = found.group(1), int(found.group(2))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def alive(self):
        return self.process.poll() is None

    def stop(self, number=signal.SIGTERM, wait=30):
        """Its exit code and what it said."""
        if self.alive():
            self.process.send_signal(number)
        try:
            _, self.said = self.process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, self.said = self.process.communicate()
            raise
        except ValueError:  # stopped already
            pass
        return self.process.returncode, self.said

    def connect(self, timeout=60):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def ask(self, path, body=None, method=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        given = {"Content-Type": "application/json"} if body is not None else {}
        given.update(headers or {})
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, data, given)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def chat(self, text="the cat", **more):
        return self.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "max_tokens": 8, **more})

    def complete(self, prompt="One day, a little girl", **more):
        return self.ask("/v1/completions", {"prompt": prompt, "max_tokens": 8, **more})

    def send(self, data):
        """A socket that has been sent these bytes."""
        opened = self.connect()
        opened.sendall(data)
        return opened

    def begin_stream(self, **more):
        """A socket whose answer is being streamed; its first bytes have been read."""
        body = json.dumps({"prompt": "One day", "max_tokens": 200, "temperature": 1, "stream": True, **more}).encode()
        opened = self.send(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert opened.recv(64).startswith(b"HTTP/1.1 200")
        return opened

    def metrics(self, headers=None):
        found = {}
        for line in self.ask("/metrics", headers=headers).body.decode().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    def wait_for(self, name, value, seconds=30):
        """Until a metric has this value."""
        until = time.monotonic() + seconds
        while True:
            now = self.metrics()[name]
            if now == value or time.monotonic() > until:
                assert now == value, "%s is %s, not %s" % (name, now, value)
                return
            time.sleep(0.02)


def read_all(opened):
    """All bytes until the other side closes."""
    found = b""
    try:
        while True:
            more = opened.recv(65536)
            if not more:
                return found
            found += more
    except ConnectionResetError:
        return found
