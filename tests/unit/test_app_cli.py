"""emovec app at the command line: what cannot be served is refused in one line, before a model is loaded."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from emovec_sae.cli import app as verb
from emovec_sae.cli.main import main
from emovec_sae.errors import ConfigError
from emovec_sae.models.mount import unmounted
from emovec_sae.report.app.server import bind, local


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["app", *arguments]) == 2
    out, line = capsys.readouterr()
    assert out == ""
    assert line.count("\n") == 1
    return line


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, str(tmp_path / "none"), "--port", "0")
    assert "there is no run at" in line
    assert "emovec run STUDY.yaml" in line


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(capsys, str(tmp_path), "--port", str(port))
    assert f"cannot serve at 127.0.0.1:{port} (Address already in use)" in line
    assert "--port is 70000" in refused(capsys, str(tmp_path), "--port", "70000")


def test_without_its_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "find_spec", lambda name: None if name == "uvicorn" else object())
    line = refused(capsys, str(tmp_path))
    assert "the explorer needs uvicorn; run: pip install 'emovec_sae[app]'" in line


def test_it_serves_the_loopback_unless_asked() -> None:
    with bind("127.0.0.1", 0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
    with pytest.raises(ConfigError, match="cannot serve at"):
        bind("192.0.2.1", 0)  # an address of documentation: nobody's
    assert [local(one) for one in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.0.2.1", "name")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_nnsights_save_is_off_meanwhile_and_back_after() -> None:
    import nnsight  # noqa: F401  it puts `save` on every object

    assert hasattr(object, "save")
    with unmounted():
        assert not hasattr(object, "save")
    assert hasattr(object, "save")
    assert hasattr([], "save")
