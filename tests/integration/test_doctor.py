"""`python -m pool_manager doctor`: what is installed, and what of it is pooled."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pool_manager.doctor import looking
from pool_manager.doctor.distributions import installed

STAINLESS = """
import httpx

print("a word of its own")

class DefaultHttpxClient(httpx.Client): pass

class Acme:
    def __init__(self, *, http_client: httpx.Client | None = None): pass

Client = Acme

def __getattr__(name): raise RuntimeError("lazy, and broken")
__path__ = []
def __dir__(): return ["Acme", "Client", "DefaultHttpxClient", "Nothing"]
"""

TAKES = """
import httpx

class Options:
    def __init__(self, transport: "httpx.BaseTransport | None" = None, timeout: httpx.Timeout = None): pass

class Takes:
    def __init__(self, key: str, *, client: httpx.Client | None = None): pass

def needs(client: httpx.Client): pass

class Failed(Exception):
    def __init__(self, client: httpx.Client | None = None): pass
"""

BY_HAND = "by client(), transport(), attach() or install()"

# name: what it requires, and what its module does when it is imported
FAKES: Mapping[str, tuple[Sequence[str], str]] = {
    "acme-ai": (["httpx<1"], STAINLESS),
    "acme-plain": (["httpx2", "requests (>=2)"], "class Plain: pass"),
    "acme-old": (
        ["requests>=2", "httpx; extra == 'new'"],
        "raise AssertionError('nobody is to import this')",
    ),
    "acme-broken": (["httpx"], "raise ValueError('no key in the environment')"),
    "acme-leaves": (["httpx"], "raise SystemExit(3)"),
    "acme-dies": (["httpx"], "import os; os._exit(7)"),
    "acme-partly": (["httpx"], "class Partly: pass"),
    "acme-quiet": (["attrs"], ""),
    "acme-takes": (["httpx"], TAKES),
    "acme-can": (["requests", "httpx; extra == 'async'"], "def late():\n    import httpx2\n"),
    "acme-around": (["acme-ai>=1"], "raise AssertionError('nobody is to import this')"),
    "acme-sleeps": (["httpx"], "import time; time.sleep(600)"),
}


@pytest.fixture(scope="session")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which distributions are installed that misbehave."""
    folder = tmp_path_factory.mktemp("site")
    for name, (requires, text) in FAKES.items():
        module = name.replace("-", "_")
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (folder / f"{module}.py").write_text(text)
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
        more = "acme_extra.py,,\n" if name == "acme-partly" else ""
        (info / "RECORD").write_text(f"{more}{module}.py,,\n{info.name}/METADATA,,\n")
    (folder / "acme_extra.py").write_text("import what_an_extra_brings")
    return folder


def doctor(
    *arguments: str, folder: Path | None = None, before: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command, with *folder* among where Python looks, after a line of shell, *before*."""
    paths = [os.environ.get("PYTHONPATH", ""), *([str(folder)] if folder is not None else [])]
    return subprocess.run(
        ["/bin/sh", "-c", f'{before}\nexec "$@"', "sh", sys.executable,
         "-m", "pool_manager", "doctor", *arguments],
        env={"PATH": os.environ["PATH"], "COLUMNS": "100", "PYTHONPATH": ":".join(filter(None, paths))}
        | {**(env or {})},
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """Give what the JSON says of each SDK."""
    return {row["name"]: row for row in json.loads(done.stdout)["sdks"]}


def test_real_sdks() -> None:
    """Of the SDKs that are installed here, each is there with its version, library, adapter and class."""
    done = doctor("--json", "openai", "anthropic", "groq", "runloop-api-client")
    assert (done.returncode, done.stderr) == (0, "")
    rows = rows_of(done)
    assert {name: row["how"] for name, row in rows.items()} == {
        "anthropic": "pooled(anthropic.Anthropic, ...)",
        "groq": "pooled(groq.Groq, ...)",
        "openai": "pooled(openai.OpenAI, ...)",
        "runloop-api-client": "pooled(runloop_api_client.Runloop, ...)",
    }
    for name, row in rows.items():
        assert row["version"] == importlib.metadata.version(name)
        assert (row["verdict"], row["adapter"]) == ("pooled", "stainless")
    assert rows["openai"]["libraries"] == ["httpx2"]
    assert "openai.AsyncOpenAI" in rows["openai"]["classes"]


def test_what_misbehaves_is_a_row(fakes: Path) -> None:
    """An SDK that fails, ends or kills its Python when imported is a row that says so; the status is 1."""
    done = doctor(
        "--json", *(name for name in FAKES if name not in {"acme-quiet", "acme-sleeps"}), folder=fakes
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["well"] is False
    found = {name: (row["verdict"], row["how"]) for name, row in rows_of(done).items()}
    assert found == {
        "acme-ai": ("pooled", "pooled(acme_ai.Acme, ...)"),
        "acme-plain": (
            "by hand", f"{BY_HAND}; what it sends by requests is not pooled"
        ),
        "acme-old": ("not pooled", "it makes its requests by requests, not by httpx"),
        "acme-takes": ("by hand", "acme_takes.Takes(client=) takes what client() makes"),
        "acme-can": ("by hand", f"{BY_HAND}; what it sends by requests is not pooled"),
        "acme-around": ("by hand", "through acme-ai: pool that"),
        "acme-broken": ("fails", "cannot be imported: ValueError: no key in the environment"),
        "acme-leaves": ("fails", "cannot be imported: SystemExit: 3"),
        "acme-partly": ("by hand", BY_HAND),
        "acme-dies": ("fails", "cannot be imported: its import ends Python with exit status 7"),
    }  # fmt: skip


def test_all_that_takes_a_client_is_told(fakes: Path) -> None:
    """What takes a client or a transport is told by its arguments; what needs one, or is an error, is not."""
    (row,) = rows_of(doctor("--json", "acme-takes", folder=fakes)).values()
    assert row["takes"] == ["acme_takes.Takes(client=)", "acme_takes.Options(transport=)"]


def test_what_can_speak_httpx_is_told_by_its_source(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where httpx is an extra, what the source imports counts; where it requires an SDK, that does."""
    monkeypatch.syspath_prepend(str(fakes))
    found = {one.name: (one.libraries, one.through) for one in installed()}
    assert found["acme-can"] == (("httpx2", "requests"), ())
    assert found["acme-old"] == (("requests",), ())
    assert found["acme-around"] == ((), ("acme-ai",))


def test_a_package_of_packages_is_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a namespace, what holds nothing but packages is looked into: an SDK may be two levels down."""
    info = tmp_path / "acme_deep-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-deep\nVersion: 1.0\nRequires-Dist: httpx\n"
    )
    files = ("acme/deep/__init__.py", "acme/deep/sdk/__init__.py", "acme/deep/sdk/client.py")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:  # Python 3.13 passes over those that are not there
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    (one,) = (one for one in installed() if one.name == "acme-deep")
    assert one.modules == ("acme.deep", "acme.deep.sdk")


def test_an_import_that_takes_too_long_is_a_failure(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK whose import does not end is given up, and said to be what will not work."""
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}:{fakes}")
    monkeypatch.setattr(looking, "_PATIENCE", 1.0)
    assert looking.look(("acme_sleeps",)).failure == "its import takes longer than 1 s"


def test_what_speaks_no_httpx_is_no_fault(fakes: Path) -> None:
    """An SDK on requests alone is told, with the reason, and is nothing that will not work."""
    done = doctor("acme_old", folder=fakes)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not pooled" in done.stdout
    assert "by requests" in done.stdout


@pytest.mark.parametrize("arguments", [("nobody",), ("acme-quiet",), ("--nothing",)], ids=str)
def test_bad_usage(arguments: tuple[str, ...], fakes: Path) -> None:
    """What is not installed, makes no requests or is no option is refused in one line."""
    done = doctor(*arguments, folder=fakes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_tables_and_plain_text(fakes: Path, tmp_path: Path) -> None:
    """People get tables; without rich the same in columns."""
    tables = doctor("acme-ai", folder=fakes)
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ImportError")
    plain = doctor("acme-ai", folder=fakes, env={"PYTHONPATH": f"{Path.cwd()}:{tmp_path}:{fakes}"})
    for done in (tables, plain):
        assert (done.returncode, done.stderr) == (0, "")
        for word in ("acme-ai 1.0", "pooled (stainless)", "pooled(acme_ai.Acme, ...)", "ALPN", "httptools"):
            assert word in done.stdout
    assert "\u2502" in tables.stdout
    assert "\u2502" not in plain.stdout


def facts_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str | None]]:
    """Give what the JSON says of the surroundings."""
    return {fact["name"]: fact for fact in json.loads(done.stdout)["environment"]}


def test_the_surroundings(fakes: Path) -> None:
    """Versions, TLS and limits are told as they are."""
    done = doctor(
        "--json",
        "acme-old",
        folder=fakes,
        env={"POOL_MANAGER_DISABLED": "1", "https_proxy": "http://u:secret@x"},
    )
    facts = facts_of(done)
    for name in ("pool-manager", "httpx", "httpx2", "h2", "h11", "httptools", "uvloop", "trio"):
        assert facts[name] == {"name": name, "value": importlib.metadata.version(name), "problem": None}
    assert facts["ALPN"]["value"] == "yes"
    assert "certifi" in str(facts["TLS store"]["value"])
    assert facts["proxies of the environment"]["value"] == "HTTPS_PROXY"
    assert facts["POOL_MANAGER_DISABLED"]["value"] == "set: install() and run do nothing"
    assert "secret" not in done.stdout


def test_what_will_not_work_is_told(fakes: Path) -> None:
    """A limit that is too low and a store that is not there are problems: the status is 1."""
    done = doctor(
        "--json", "acme-old", folder=fakes, before="ulimit -n 200", env={"SSL_CERT_FILE": "/no/such.pem"}
    )
    facts = facts_of(done)
    assert done.returncode == 1
    assert facts["TLS store"]["problem"] == "SSL_CERT_FILE names no file"
    assert str(facts["file descriptors"]["problem"]).startswith("a pool may open 1000 connections")


def test_an_old_library_is_told(tmp_path: Path) -> None:
    """A library older than we work with is a problem."""
    info = tmp_path / "h2-4.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: h2\nVersion: 4.1.0\n")
    facts = facts_of(doctor("--json", "groq", folder=tmp_path))
    assert facts["h2"]["problem"] == "too old: 4.2 is needed"


def test_nothing_is_imported_to_list(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes requests is read from metadata alone."""
    monkeypatch.syspath_prepend(str(fakes))
    listed = {one.name for one in installed()}
    assert {"acme-dies", "acme-old", "openai"} <= listed
    assert not {"acme-quiet", "httpx", "pool-manager", "attrs"} & listed
    assert "acme_dies" not in sys.modules
