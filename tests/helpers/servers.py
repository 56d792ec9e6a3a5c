"""Servers on loopback for tests: S3 by moto, a proxy that fails on purpose, nginx, and refusals."""

import http.client
import logging
import os
import random
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from samcache.cache.errors import StoreError
from samcache.cache.objects import bucket

FAILURES = ("drop before", "error before", "drop after", "error after", "cut", "delay")
_HOPS = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on to ``server.target``, but for those that are to fail."""

    protocol_version = "HTTP/1.1"
    server: "ProxyServer"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client went away first
            self.close_connection = True

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        failure = self.server.draw()
        if failure == "drop before":
            return self._drop()
        if failure == "error before":
            return self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
        if failure == "delay":
            time.sleep(0.05)
        time.sleep(self.server.pause)
        status, headers, data = self._forward(body)
        if failure == "drop after" or (failure == "cut" and len(data) < 2):
            return self._drop()
        if failure == "error after":
            return self._answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
        if failure == "cut":
            self._answer(status, headers, data[: len(data) // 2], length=len(data))
            return self._drop()
        return self._answer(status, headers, data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            kept = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in self.server.forget
            }
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: dict[str, str], data: bytes, length: int | None = None
    ) -> None:
        given = {name.lower(): value for name, value in headers.items()}
        self.send_response_only(status)
        for name, value in given.items():
            if name not in _HOPS:
                self.send_header(name, value)
        size = len(data) if length is None else length
        if self.command == "HEAD":
            size = int(given.get("content-length", 0))
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _drop(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class ProxyServer(ThreadingHTTPServer):
    """Listens on loopback; a ``share`` of all requests fails, which ones is drawn from ``seed``.

    ``forget`` names headers, in small letters, that are not passed on.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str, share: float, seed: int, forget: tuple[str, ...] = ()) -> None:
        super().__init__(("127.0.0.1", 0), Proxy)
        self.target = target
        self.share = share
        self.forget = forget
        self.pause = 0.0  # seconds before every answer
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def draw(self) -> str:
        with self._lock:
            fails = self._rng.random() < self.share
            kind = self._rng.choice(FAILURES) if fails else "pass"
            self.counts[kind] += 1
            return kind


class Refusal(BaseHTTPRequestHandler):
    """Answers everything with ``server.status`` and ``server.body``."""

    def refuse(self) -> None:
        server: Any = self.server
        server.requests += 1
        self.send_response_only(server.status)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(server.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = refuse  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """A server with its thread, ended together."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """``host:port`` of an S3 server in memory."""
    pytest.importorskip("moto.server", reason="moto is not installed: no S3 server here")
    with s3_serving() as address:
        yield address


@contextmanager
def s3_serving() -> Iterator[str]:
    """``host:port`` of an S3 server in memory; one request at a time, so that each is atomic."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def serially(environ: Any, start: Any) -> Any:
        with lock:
            return application(environ, start)

    server = make_server("127.0.0.1", 0, serially, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the environment for an S3 endpoint, and nothing else of AWS's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    def use(endpoint: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")

    return use


@pytest.fixture
def s3(s3_server: str, aws: Callable[[str], None]) -> str:
    """The URL of a new bucket, with the environment that opens it."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    connection = http.client.HTTPConnection(s3_server, timeout=30)
    connection.request("PUT", f"/{bucket}")
    assert connection.getresponse().status == 200
    connection.close()
    aws(f"http://{s3_server}")
    return f"s3://{bucket}"


Failing = Callable[..., ProxyServer]


@pytest.fixture
def failing(
    s3_server: str,
    s3: str,  # noqa: ARG001
    aws: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Failing]:
    """Puts a proxy in front of ``s3``, or of another URL: ``failing(share, seed)``.

    What has failed is asked for again at once.
    """
    monkeypatch.setattr(bucket, "_PAUSE", 0.005)
    started = []

    def start(
        share: float, seed: int = 0, forget: tuple[str, ...] = (), target: str | None = None
    ) -> ProxyServer:
        server = ProxyServer((target or s3_server).removeprefix("http://"), share, seed, forget)
        context = serving(server)
        context.__enter__()
        started.append(context)
        aws(server.url)
        return server

    yield start
    for context in started:
        context.__exit__(None, None, None)


@pytest.fixture
def refusing() -> Iterator[Callable[..., Any]]:
    """Starts servers that refuse: ``refusing(status, body)`` has ``url`` and ``requests``."""
    started = []

    def start(status: int, body: bytes = b"") -> Any:
        server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
        server.status, server.body, server.requests = status, body, 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        context = serving(server)
        context.__enter__()
        started.append(context)
        return server

    yield start
    for context in started:
        context.__exit__(None, None, None)


_NGINX = """
daemon off; master_process off; pid {here}/nginx.pid; error_log {here}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log {here}/access.log; default_type application/octet-stream;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; autoindex off; }}
}}
"""


@pytest.fixture
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Starts nginx over a folder, without listings: ``nginx(folder)`` is its URL."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed: no web server here")
    started = []

    def start(root: Path) -> str:
        here, port = tmp_path_factory.mktemp("nginx"), free_port()
        config = here / "nginx.conf"
        config.write_text(_NGINX.format(here=here, root=root, port=port))
        started.append(
            subprocess.Popen([program, "-c", str(config), "-p", str(here), "-e", str(here / "log")])
        )
        await_port(port)
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def await_port(port: int, patience: float = 10.0) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"nobody listens on port {port}")


def one_line(call: Callable[[], Any], pattern: str) -> str:
    """The text of the StoreError that a call raises, found to be one line without secrets."""
    with pytest.raises(StoreError, match=pattern) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    for secret in ("AKIAEXAMPLE", "example-secret", "Signature", "Debug source"):
        assert secret not in text
    return text
