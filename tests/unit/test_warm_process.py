"""Jobs that start as copies of one process with the libraries are as jobs that start by themselves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from alliance.configuration.code import SCRIPTS, code_files
from alliance.launch import warm_process
from alliance.launch.start_job import ADDRESS

START = [sys.executable, "-I", "-S", str(SCRIPTS / "alliance" / "launch" / "start_job.py")]
TELLS = """
import os, sys
from pathlib import Path
print(sys.argv, __name__, Path(__file__).name, os.getcwd(), os.environ["OF_THE_JOB"], Path(sys.path[0]).name)
print(sys.stdin.read(), file=sys.stderr)
if sys.argv[1] == "fails":
    raise ValueError("planted")
sys.exit({"ends": None, "seven": 7, "says": "a reason"}[sys.argv[1]])
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, where alone jobs start warm; run the tests there")


@pytest.fixture(scope="module")
def address():
    with warm_process.warm_process():
        yield os.environ[ADDRESS]
    assert ADDRESS not in os.environ


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "tells.py"
    path.write_text(TELLS, encoding="utf-8")
    return path


def called(call: list[str], folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != ADDRESS} | {"OF_THE_JOB": "säule"}
    environment |= {ADDRESS: address} if address else {}
    return subprocess.run(call, cwd=folder, env=environment, input="typed", capture_output=True, text=True, timeout=120)


def test_the_warm_process_ends_with_the_run():
    """First, since the others share a process that is alive until the last of them has ended."""
    with warm_process.warm_process():
        folder = Path(os.environ[ADDRESS]).parent
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert subprocess.run(["pgrep", "-f", "serve_jobs.py", "-P", str(os.getpid())], capture_output=True).returncode == 1


def test_whoever_finds_that_jobs_run_elsewhere_ends_the_warm_process_at_once(monkeypatch):
    started = []

    def begun(*given, **settings):
        started.append(subprocess_popen(*given, **settings))
        return started[-1]

    subprocess_popen = subprocess.Popen
    monkeypatch.setattr(warm_process.subprocess, "Popen", begun)
    with warm_process.warm_process() as dismiss:
        assert ADDRESS in os.environ
        dismiss()
        assert ADDRESS not in os.environ
    monkeypatch.undo()
    # Killed, not left to end when it had imported all.
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert subprocess.run(["pgrep", "-f", "serve_jobs.py", "-P", str(os.getpid())], capture_output=True).returncode == 1


@pytest.mark.parametrize("how", ["ends", "seven", "says"])
def test_a_warm_job_says_and_returns_what_a_plain_call_does(address, script, how):
    arguments = [how, "ü 'quoted' \"twice\"", ""]
    plain = called([sys.executable, script.name, *arguments], script.parent, "")
    warm = called([*START, script.name, *arguments], script.parent, address)
    cold = called([*START, script.name, *arguments], script.parent, "")
    assert "typed" in plain.stderr and "säule" in plain.stdout
    for started in (warm, cold):
        assert (started.returncode, started.stdout, started.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_a_warm_job_that_fails_leaves_its_traceback(address, script):
    failed = called([*START, script.name, "fails"], script.parent, address)
    assert failed.returncode == 1 and "ValueError: planted" in failed.stderr and "tells.py" in failed.stderr


def test_libraries_are_there_when_a_warm_job_begins(address, script):
    script.write_text("import sys; print('pandas' in sys.modules, 'alliance.questions.course.question' in sys.modules)", encoding="utf-8")
    assert called([*START, script.name], script.parent, address).stdout == "True True\n"
    assert called([*START, script.name], script.parent, "").stdout == "False False\n"


def test_what_was_done_to_warm_up_leaves_settings_and_threads_as_they_were():
    code = (
        "import os, pandas as pd; from alliance.launch import warm_process; before = pd.get_option('mode.string_storage'); "
        "warm_process.imported(); print(pd.get_option('mode.string_storage') == before, "
        "os.listdir('/proc/self/task') == [str(os.getpid())])"
    )
    environment = os.environ | warm_process.ENVIRONMENT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPTS, env=environment, check=True)
    assert done.stdout == "True True\n" and not done.stderr


def test_whatever_an_answer_is_signed_with_is_watched_for_changes():
    files = warm_process.imported()
    roots = [SCRIPTS / "estimate_site.py", *(SCRIPTS / "alliance" / "questions").glob("*/question.py")]
    assert {str(file) for file in code_files(*roots)} <= set(files)
    assert warm_process.is_current(files)
    assert not warm_process.is_current(files | {str(roots[0]): os.stat(SCRIPTS)})


def test_jobs_know_nothing_of_each_other(address, script):
    script.write_text("import json; print(hasattr(json, 'mark')); json.mark = 1", encoding="utf-8")
    assert [called([*START, script.name], script.parent, address).stdout for _ in range(2)] == ["False\n", "False\n"]


def is_alive(process: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_ends_when_whoever_asked_for_it_is_killed(address, script):
    script.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(600)", encoding="utf-8")
    environment = os.environ | {ADDRESS: address}
    asking = subprocess.Popen([*START, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    job = int(asking.stdout.readline())
    assert job != asking.pid
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    until = time.monotonic() + 60
    while is_alive(job) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(job)


def test_a_job_whose_process_is_killed_has_failed_without_a_word(address, script):
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", encoding="utf-8")
    killed = called([*START, script.name], script.parent, address)
    assert (killed.returncode, killed.stdout, killed.stderr) == (137, "", "")


def test_jobs_start_by_themselves_where_the_warm_process_has_gone(script, tmp_path):
    assert called([*START, script.name, "seven"], script.parent, str(tmp_path / "nobody")).returncode == 7


def test_a_file_that_changed_after_it_was_imported_is_noticed(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("one = 1\n", encoding="utf-8")
    files = {str(module): os.stat(module)}
    assert warm_process.is_current(files)
    module.write_text("one = 10\n", encoding="utf-8")
    assert not warm_process.is_current(files)
    module.unlink()
    assert not warm_process.is_current(files)


@contextmanager
def serving(folder: Path, spent: list[float]):
    """Yield the address of a server in a process of its own; afterwards its processor time, that of its jobs included, stands in a list."""
    asked, ours = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "jobs"))
        listener.listen()
        server = os.fork()
        if server == 0:
            os.close(ours)
            warm_process.serve(listener, asked)
            os._exit(0)
    os.close(asked)
    try:
        yield str(folder / "jobs")
    finally:
        os.close(ours)
        _, status, usage = os.wait4(server, 0)
    assert status == 0
    spent.append(usage.ru_utime + usage.ru_stime)


def test_a_job_starts_cold_where_what_the_warm_process_imported_is_out_of_date(script, monkeypatch):
    monkeypatch.setattr(warm_process, "imported", lambda: {str(script): os.stat(script.parent)})
    script.write_text("import sys; print('pandas' in sys.modules)", encoding="utf-8")
    with serving(script.parent, []) as address:
        assert called([*START, script.name], script.parent, address).stdout == "False\n"


def test_the_processor_time_of_jobs_counts_as_that_of_the_run(script, monkeypatch):
    monkeypatch.setattr(warm_process, "imported", dict)
    script.write_text("import time\nwhile time.process_time() < 1.5: pass", encoding="utf-8")
    spent: list[float] = []
    with serving(script.parent, spent) as address:
        assert called([*START, script.name], script.parent, address).returncode == 0
    assert spent[0] > 1.4


def test_a_question_that_breaks_off_disturbs_no_other_job(script, monkeypatch):
    monkeypatch.setattr(warm_process, "imported", dict)
    script.write_text("import os; os.write(1, b'well\\n')", encoding="utf-8")
    with serving(script.parent, []) as address:
        for beginning in (b"", b"1234", (1000).to_bytes(8, "big") + b"begun"):
            with socket.socket(socket.AF_UNIX) as broken:
                broken.connect(address)
                broken.sendall(beginning)
        assert called([*START, script.name], script.parent, address).stdout == "well\n"
