"""The demo does what it says, and tells in one line what it cannot do."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import psutil  # type: ignore[import-untyped]  # its types are a package of their own
import pytest

from pool_manager.demo.load import explained
from tests.support.counting_server import Answer, CountedRequest, CountingServer
from tests.support.server import Server

NOTHING: Mapping[str, str] = {}
SDKS = ("openai", "anthropic", "groq", "runloop_api_client")
NOBODY = "http://127.0.0.1:9"  # the port of "discard": nobody listens


def hear_ctrl_c() -> None:
    """Undo what a shell does to a job in the background: these tests may be part of one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@attrs.frozen
class Demo:
    """Runs the command in a folder of its own, where temporary files go, too."""

    folder: Path

    def run(
        self, *arguments: str, without: tuple[str, ...] = (), env: Mapping[str, str] = NOTHING
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; modules named in *without* cannot be imported."""
        return subprocess.run(
            command(*arguments),
            cwd=self.folder,
            env=self._env(without, env),
            capture_output=True,
            text=True,
            check=False,
        )

    def json(
        self, *arguments: str, without: tuple[str, ...] = (), env: Mapping[str, str] = NOTHING
    ) -> Mapping[str, Any]:
        """Run it with ``--json``; give what it found."""
        done = self.run(*arguments, "--json", without=without, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        found: Mapping[str, Any] = json.loads(done.stdout)
        return found

    @contextmanager
    def in_full_swing(self) -> Generator[subprocess.Popen[bytes]]:
        """Run it on a terminal, from when its progress bar moves."""
        terminal, end = pty.openpty()
        with subprocess.Popen(
            command("--clients", "2", "--requests", "1000000"),
            cwd=self.folder,
            env=self._env(SDKS, {"TERM": "xterm"}),
            stderr=end,
            preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - of threads, only those of test servers
        ) as process:
            os.close(end)
            try:
                read_until(terminal, rb"[1-9]\d*/2000000")
                yield process
                process.wait()
                assert b"Traceback" not in read_until(terminal, None)
            finally:
                process.kill()
                os.close(terminal)

    def leftovers(self) -> list[str]:
        """Name the temporary files that are there."""
        return [path.name for path in (self.folder / "tmp").iterdir()]

    def _env(self, without: tuple[str, ...], env: Mapping[str, str]) -> Mapping[str, str]:
        (self.folder / "tmp").mkdir(exist_ok=True)
        blocked = f"import sys; sys.modules.update(dict.fromkeys({without!r}))"
        (self.folder / "sitecustomize.py").write_text(blocked)
        own = {"PYTHONPATH": str(self.folder), "TMPDIR": str(self.folder / "tmp"), "PYTHONWARNINGS": "error"}
        return {**os.environ, **own, **env}


def command(*arguments: str) -> list[str]:
    """Give the command as a user types it."""
    return [sys.executable, "-m", "pool_manager", "demo", *arguments]


def read_until(terminal: int, wanted: bytes | None) -> bytes:
    """Read a terminal until the pattern *wanted* is there; if that is None, until it is closed."""
    shown = b""
    while wanted is None or not re.search(wanted, shown):
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # how Linux says that nobody writes here any more
            assert wanted is None, shown
            break
    return shown


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """Give the command."""
    return Demo(tmp_path)


@pytest.fixture(scope="module")
def sdk_demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Give the command for `sdk_run`, with what that left."""
    return Demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def sdk_run(sdk_demo: Demo) -> Mapping[str, Any]:
    """Give what one small run with the real SDKs found."""
    return sdk_demo.json("--clients", "6", "--requests", "3", "--chart", "chart.png")


def test_pooled_clients_share_one_connection(sdk_run: Mapping[str, Any]) -> None:
    """Six SDK clients need six connections or more the usual way, and one on the pool."""
    usual, pooled = sdk_run["usual"], sdk_run["pooled"]

    assert usual["connections"] >= 6
    assert usual["handshakes"] == usual["connections"]
    assert (pooled["connections"], pooled["handshakes"]) == (1, 1)


def test_every_request_is_answered(sdk_run: Mapping[str, Any]) -> None:
    """The server sees each request once, and no SDK finds fault with its answer."""
    for way in ("usual", "pooled"):
        phase = sdk_run[way]
        assert (phase["requests"], phase["failed"], phase["causes"]) == (18, 0, {})


def test_all_sdks_that_are_installed_take_part(sdk_run: Mapping[str, Any]) -> None:
    """The clients are those of the real SDKs, in turn."""
    expected = {"AsyncOpenAI": 2, "AsyncAnthropic": 2, "AsyncGroq": 1, "AsyncRunloop": 1}

    assert expected == sdk_run["clients"]


def test_costs_are_measured(sdk_run: Mapping[str, Any]) -> None:
    """Times are never nothing, percentiles are in order."""
    for way in ("usual", "pooled"):
        phase = sdk_run[way]
        assert 0 < phase["p50_ms"] <= phase["p99_ms"] <= 1000 * phase["wall_seconds"]
        assert 0 < phase["client_ms"] <= 1000 * phase["wall_seconds"]
        assert phase["memory_mib"] is None or phase["memory_mib"] >= 0


@pytest.mark.usefixtures("sdk_run")
def test_chart_is_a_png(sdk_demo: Demo) -> None:
    """`--chart` writes a picture, beside the JSON."""
    assert (sdk_demo.folder / "chart.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.usefixtures("sdk_run")
def test_nothing_is_left(sdk_demo: Demo) -> None:
    """Certificates and other temporary files go with the demo."""
    assert sdk_demo.leftovers() == []


def test_table_shows_both_ways_side_by_side(demo: Demo) -> None:
    """Without `--json` there is a table; without SDKs plain clients make the load; no proxy is in its way."""
    proxies = {"https_proxy": NOBODY, "HTTPS_PROXY": NOBODY, "ALL_PROXY": NOBODY}
    done = demo.run("--clients", "4", "--requests", "2", without=SDKS, env=proxies)

    assert (done.returncode, done.stderr) == (0, "")
    for shown in ("usual way", "pooled", "2 httpx.AsyncClient, 2 httpx2.AsyncClient"):
        assert shown in done.stdout
    assert row(done.stdout, "TCP connections") == ["4", "1", "4.0x"]


def test_url_gets_no_more_requests_than_allowed(demo: Demo, counting_server: CountingServer) -> None:
    """A server of the user's gets `--at-most` requests each way, and its connections are counted."""
    found = demo.json("--url", counting_server.url + "/some?query", "--clients", "4", "--at-most", "10")

    assert (found["usual"]["requests"], found["pooled"]["requests"]) == (10, 10)
    assert {("GET", "/some?query")} == {(seen.method, seen.path) for seen in counting_server.requests}
    assert len(counting_server.requests) == 20
    assert found["usual"]["connections"] + found["pooled"]["connections"] == counting_server.connections
    assert found["usual"]["connections"] == 4
    assert found["pooled"]["handshakes"] == 0


def test_url_with_fewer_requests_than_clients(demo: Demo, counting_server: CountingServer) -> None:
    """No client is made that would have nothing to send."""
    found = demo.json("--url", counting_server.url, "--clients", "50", "--at-most", "3")

    assert sum(found["clients"].values()) == 3
    assert len(counting_server.requests) == 6


def test_url_over_tls(demo: Demo, h2_server: Server) -> None:
    """Over TLS each connection is a handshake, and the pool needs one."""
    env = {"SSL_CERT_FILE": str(h2_server.ca_file)}
    found = demo.json("--url", h2_server.url + "/echo", "--clients", "4", "--requests", "2", env=env)

    assert (found["usual"]["handshakes"], found["pooled"]["handshakes"]) == (4, 1)
    assert h2_server.seen().handshakes == 5


def test_failed_requests_are_shown(demo: Demo, counting_server: CountingServer) -> None:
    """A request that fails is counted and its cause told; the others go on."""

    def respond(request: CountedRequest) -> Answer:
        return Answer(status=503 if request.connection == 1 else 200)

    counting_server.respond = respond
    done = demo.run("--url", counting_server.url, "--clients", "2", "--at-most", "6")

    assert done.returncode == 0
    assert row(done.stdout, "Failed requests")[0] == "3"
    assert row(done.stdout, "TCP connections")[0] == "2"
    assert "3 failed the usual way: HTTPError: 503\n" in done.stdout


REFUSED = {
    "no command of that name": ("--bogus",),
    "no clients": ("--clients", "0"),
    "negative requests": ("--requests", "-1"),
    "not a number": ("--clients", "many"),
    "no scheme": ("--url", "example.org/path"),
    "another scheme": ("--url", "ftp://example.org"),
    "no host": ("--url", "https://"),
    "broken url": ("--url", "http://[::1"),
    "at most without url": ("--at-most", "5"),
    "at most nothing": ("--url", NOBODY, "--at-most", "0"),
    "chart of another kind": ("--chart", "chart.svg"),
    "chart in no folder": ("--chart", "missing/chart.png"),
    "chart over a folder": ("--chart", "folder.png"),
    "unreachable": ("--url", NOBODY),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED.keys())
def test_refuses_in_one_line(demo: Demo, arguments: tuple[str, ...]) -> None:
    """Bad input is one clear line on stderr and exit status 2."""
    (demo.folder / "folder.png").mkdir()
    done = demo.run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr)


def test_unreachable_url_is_named_with_the_cause(demo: Demo) -> None:
    """Who cannot be reached, and why; the password stays untold."""
    done = demo.run("--url", NOBODY.replace("//", "//user:secret@"), "--json")

    assert done.returncode == 2
    assert done.stderr == f"error: no request to {NOBODY} succeeded: ConnectError: Connection refused\n"


@pytest.mark.parametrize("package", ["rich", "hypercorn", "trustme", "matplotlib"])
def test_names_the_missing_extra(demo: Demo, package: str) -> None:
    """What is not installed is named before anything is run, with how to install it."""
    done = demo.run("--chart", "chart.png", without=(package,))

    assert done.returncode == 2
    assert done.stderr == f"error: the demo needs {package}: pip install 'pool-manager[demo]'\n"


def test_url_needs_no_server(demo: Demo, counting_server: CountingServer) -> None:
    """With `--url` and without `--chart`, only what is used has to be there."""
    unused = ("hypercorn", "trustme", "matplotlib")
    found = demo.json("--url", counting_server.url, "--clients", "1", "--requests", "1", without=unused)

    assert found["pooled"]["connections"] == 1


def test_a_child_that_fails_says_why(demo: Demo) -> None:
    """A child's traceback comes out as its last line."""
    done = demo.run("--url", NOBODY, without=("pool_manager.demo.clients",))

    assert done.returncode == 2
    assert_one_line(done.stderr)
    assert "the demo's load ended early: ModuleNotFoundError" in done.stderr


def test_ctrl_c(demo: Demo) -> None:
    """Ctrl-C ends the demo with status 130 and everything it started."""
    with demo.in_full_swing() as process:
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)

    assert len(children) == 2
    assert process.returncode == 130
    assert not any(child.is_running() for child in children)
    assert demo.leftovers() == []


def test_killed(demo: Demo) -> None:
    """Nothing outlives the demo, not even if that is killed."""
    with demo.in_full_swing() as process:
        children = psutil.Process(process.pid).children()
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=10)

    assert alive == []
    assert demo.leftovers() == []


def test_explains_by_the_root_of_the_error() -> None:
    """An error is told by the words of the system's error below it."""
    root = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)")
    middle, outer = OSError("All connection attempts failed"), RuntimeError("Connection error.")
    middle.__cause__, outer.__cause__ = root, middle

    assert explained(outer) == "RuntimeError: Connection refused"
    assert explained(TimeoutError()) == "TimeoutError"


def row(table: str, label: str) -> list[str]:
    """Give the cells of one row."""
    cells = [[cell.strip() for cell in line.split("│")] for line in table.split("\n")]
    return next(row[2:-1] for row in cells if row[1:2] == [label])


def assert_one_line(text: str) -> None:
    """Check that *text* is one line fit for a user."""
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
