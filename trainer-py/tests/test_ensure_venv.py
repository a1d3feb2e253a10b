"""tools/ensure_venv.py: does nothing when nothing changed, makes anew what is stale or torn, and says what is wrong."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "ensure_venv.py"
LOCKS = ["requirements.lock"]


def load() -> ModuleType:
    found = importlib.util.spec_from_file_location("ensure_venv", TOOL)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def scripted(root: Path, seconds: float = 0.0) -> ModuleType:
    """The tool with pip left out: it makes an interpreter file and counts how often."""
    tool = load()

    def build(root: Path, venv: Path, locks: list[str]) -> None:
        with open(root / "built", "a") as file:
            file.write("x")
        time.sleep(seconds)
        tool.interpreter(venv).parent.mkdir(parents=True, exist_ok=True)
        tool.interpreter(venv).touch()

    tool.build = build  # type: ignore[attr-defined]
    return tool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / LOCKS[0]).write_text("package==1 --hash=sha256:0")
    return tmp_path


def builds(root: Path) -> int:
    return len((root / "built").read_text())


def test_it_is_made_once_and_again_when_the_lock_changes(root: Path) -> None:
    tool = scripted(root)
    assert tool.ensure(root, LOCKS) and not tool.ensure(root, LOCKS) and builds(root) == 1
    (root / LOCKS[0]).write_text("package==2 --hash=sha256:1")
    assert tool.ensure(root, LOCKS) and builds(root) == 2


def test_a_torn_environment_is_made_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = scripted(root)
    tool.ensure(root, LOCKS)
    (root / ".venv" / "bora-stamp.json").unlink()
    assert tool.ensure(root, LOCKS) and builds(root) == 2
    tool.interpreter(root / ".venv").unlink()
    assert tool.ensure(root, LOCKS) and builds(root) == 3
    said = capsys.readouterr().err
    assert ["there is none yet" in said, "left unfinished" in said, "its Python is gone" in said] == [True] * 3


def test_another_python_of_the_same_minor_version_keeps_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = scripted(root)
    monkeypatch.setattr(tool.platform, "python_version_tuple", lambda: ("3", "11", "2"))
    tool.ensure(root, LOCKS)
    monkeypatch.setattr(tool.platform, "python_version_tuple", lambda: ("3", "11", "9"))
    assert not tool.ensure(root, LOCKS)
    monkeypatch.setattr(tool.platform, "python_version_tuple", lambda: ("3", "12", "1"))
    assert tool.ensure(root, LOCKS) and builds(root) == 2


def test_two_at_once_make_it_once(root: Path) -> None:
    tools = [scripted(root, seconds=0.5) for _ in range(3)]
    threads = [threading.Thread(target=tool.ensure, args=(root, LOCKS)) for tool in tools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert builds(root) == 1 and not tools[0].ensure(root, LOCKS)


def test_the_package_is_importable_by_a_relative_path(root: Path) -> None:
    packages = root / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    load().make_importable(root, root / ".venv")
    line = (packages / "bora-trainer.pth").read_text().strip()
    assert not os.path.isabs(line) and (packages / line).resolve() == root / "src"


def test_an_old_python_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load()
    monkeypatch.setattr(tool.sys, "version_info", (3, 10, 4))
    with pytest.raises(tool.EnvironmentProblem, match="3.11 is needed"):
        tool.ensure(root, LOCKS)


def test_a_failing_step_is_named_with_a_hint(root: Path) -> None:
    tool = load()
    with pytest.raises(tool.EnvironmentProblem, match="failed") as caught:
        tool.run([sys.executable, "-c", "raise SystemExit(3)"], "do this")
    assert (caught.value.code, caught.value.hint) == ("environment_missing", "do this")


def test_nothing_to_do_takes_under_a_third_of_a_second(root: Path) -> None:
    scripted(root).ensure(root, LOCKS)
    code = f"import sys; sys.path.insert(0, {str(TOOL.parent)!r}); import ensure_venv as e; from pathlib import Path; "
    code += f"assert not e.ensure(Path({str(root)!r}), {LOCKS!r})"
    timed = [_seconds([sys.executable, "-S", "-c", code]) for _ in range(3)]
    assert min(timed) < 0.3, timed


def test_the_launcher_names_what_is_missing(tmp_path: Path) -> None:
    node = subprocess.run(["which", "node"], capture_output=True, text=True, check=True).stdout.strip()
    launcher = TOOL.with_name("ensure-venv.mjs")
    answer = subprocess.run([node, str(launcher)], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "error python_missing: no Python 3.11" in answer.stderr and "hint: install Python 3.11" in answer.stderr
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 3.9.2\nexit 1\n")
    old.chmod(0o755)
    answer = subprocess.run([node, str(launcher)], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert answer.returncode == 2 and "python3 is 3.9.2" in answer.stderr


def _seconds(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - started
