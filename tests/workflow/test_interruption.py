"""Killed, doubled and broken runs leave whole results behind, and the next run needs no flag."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
from alliance.files import TEMPORARY_PREFIX, read_json, replacing, sha256, write_text
from support import Checkout


def start(checkout: Checkout, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "scripts/pipeline.py", "run", "--config", "config.yaml", "--cores", "2", *arguments],
        cwd=checkout.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def wait_for_progress(process: subprocess.Popen[str], lines: int) -> None:
    seen = 0
    assert process.stdout is not None
    for line in process.stdout:
        seen += line.startswith("[")
        if seen >= lines:
            return
    raise AssertionError("the run ended before it could be interrupted")


def rest(process: subprocess.Popen[str]) -> str:
    # A guard against a run that hangs; tests beside this one take processor time.
    return process.communicate(timeout=600)[0]


def change_everything(checkout: Checkout) -> None:
    checkout.rewrite("config.yaml", "max_listed: 1000", "max_listed: 999")


def test_a_killed_run_goes_on_without_any_flag_and_gives_the_same_result(small):
    before = small.bytes_below("base/tables")
    change_everything(small)
    process = start(small)
    wait_for_progress(process, 2)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    process.kill()
    for child in children:
        os.killpg(int(child), signal.SIGKILL)
    process.wait()
    assert small.bytes_below("base/tables").keys() == before.keys()
    assert small.jobs_of_run()
    assert small.bytes_below("base/tables") == before
    assert not list(small.results.rglob(TEMPORARY_PREFIX + "*"))


def test_a_second_run_at_the_same_time_exits_75_and_says_who_runs(small):
    change_everything(small)
    process = start(small)
    wait_for_progress(process, 1)
    second = small.call("run")
    assert second.returncode == 75, second.stdout
    assert f"pid {process.pid}" in second.stdout and "since" in second.stdout
    rest(process)
    assert process.returncode == 0


def test_unlocking_snakemake_during_a_run_does_not_let_a_second_run_in(small):
    change_everything(small)
    process = start(small)
    wait_for_progress(process, 1)
    subprocess.run([sys.executable, "-m", "snakemake", "--unlock"], cwd=small.folder, capture_output=True)
    assert small.call("run").returncode == 75
    rest(process)
    assert process.returncode == 0


def test_two_studies_run_at_once(one_question, small, tmp_path):
    second = Checkout(tmp_path / "project")
    shutil.copytree(one_question.folder, second.folder, symlinks=True)
    change_everything(small)
    process = start(small)
    wait_for_progress(process, 1)
    other = second.call("run")
    assert other.returncode == 0 and "Nothing to do" in other.stdout
    rest(process)
    assert process.returncode == 0


def test_an_interrupted_run_exits_130_and_can_be_resumed(small):
    change_everything(small)
    process = start(small)
    wait_for_progress(process, 1)
    process.send_signal(signal.SIGINT)
    output = rest(process)
    assert process.returncode == 130, output
    assert output.strip().splitlines()[-1].startswith("exit status 130:")
    assert small.call("run").returncode == 0


def test_a_step_that_crashes_leaves_the_earlier_result_whole(small):
    before = small.bytes_below("base")
    module = small.folder / "scripts" / "alliance" / "questions" / "client_factors" / "question.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(
        text.replace("def pool(", "def pool(*_, **__):\n    raise MemoryError('planted')\n\n\ndef _unused(", 1), encoding="utf-8"
    )
    result = small.call("run")
    assert result.returncode == 1 and "pool client factors" in result.stdout
    assert result.stdout.strip().splitlines()[-1].startswith("exit status 1:")
    assert small.bytes_below("base/tables/client_factors") == {
        name: content for name, content in before.items() if name.startswith("base/tables/client_factors")
    }
    module.write_text(text, encoding="utf-8")
    assert small.call("run").returncode == 0
    assert small.bytes_below("base") == before


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        ("raise OSError(28, 'No space left on device')", "The disk is full. What was finished is kept whole; free some space"),
        ("import os; os.kill(os.getpid(), 9)", "as when the system kills a step for want of memory"),
    ],
)
def test_a_full_disk_or_a_killed_step_is_named_and_costs_only_that_step(small, planted, told):
    before = small.bytes_below("base/tables")
    small.rewrite("config.yaml", "tau2: reml ", "tau2: paule_mandel ")
    module = small.folder / "scripts" / "alliance" / "questions" / "client_factors" / "question.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace("def pool(", f"def pool(*_, **__):\n    {planted}\n\n\ndef _unused(", 1), encoding="utf-8")
    result = small.call("run")
    assert result.returncode == 1 and "failed: pool client factors" in result.stdout and told in result.stdout, result.stdout
    assert small.bytes_below("base/tables") == before and "record provenance (base)" in result.stdout
    assert not list(small.results.rglob(TEMPORARY_PREFIX + "*"))
    module.write_text(text, encoding="utf-8")
    assert small.call("run").returncode == 0
    after = small.bytes_below("base/tables")
    assert after.keys() == before.keys() and after != before


def test_a_raw_file_that_is_replaced_during_a_run_is_used_as_it_was_read_and_read_again_by_the_next(small):
    file = small.folder / "data" / "demo" / "northgate" / "clients.csv"
    status = small.results / "sites" / "northgate" / "status.json"

    def used() -> set[str]:
        return {entry["sha256"] for entry in read_json(status)["files"]}

    change_everything(small)
    process = start(small)
    wait_for_progress(process, 2)
    old = sha256(file)
    file.write_bytes(file.read_bytes() + b"\n")
    rest(process)
    assert process.returncode == 0 and used() & {old, sha256(file)}
    jobs = small.call("run")
    assert jobs.returncode == 0 and sha256(file) in used() and old not in used()


def test_a_file_that_cannot_be_written_to_its_end_leaves_the_old_one_whole(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old\n")
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom alliance.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_text(Path(sys.argv[1]), 'new\\n' * 1000)\n"
    )
    scripts = os.path.join(os.path.dirname(__file__), "..", "..", "scripts")
    run = subprocess.run([sys.executable, "-c", code, str(path), scripts], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.returncode == 1 and "OSError" in run.stderr
    assert path.read_text(encoding="utf-8") == "old\n" and list(tmp_path.iterdir()) == [path]


def test_a_file_and_its_folder_are_on_the_disk_before_and_after_it_is_renamed(tmp_path, monkeypatch):
    done = []
    kept = {"fsync": os.fsync, "replace": os.replace}

    def fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        kept["fsync"](handle)

    def replace(source: str, target: str) -> None:
        done.append("rename")
        kept["replace"](source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "table.csv", "new\n")
    assert done == ["file", "rename", "folder"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old\n")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old\n" and list(tmp_path.iterdir()) == [path]


def test_sixty_kills_while_writing_never_leave_a_torn_file(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom alliance.files import write_text\n"
        "n = 0\nprint('ready', flush=True)\n"
        "while True:\n    n += 1\n    write_text(Path(sys.argv[1]), f'{n}\\n' * 20000)\n"
    )
    path = tmp_path / "table.csv"
    scripts = os.path.join(os.path.dirname(__file__), "..", "..", "scripts")
    for attempt in range(60):
        process = subprocess.Popen([sys.executable, "-c", code, str(path), scripts], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.003 * (attempt % 10) + 0.005)
        process.kill()
        process.wait()
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            assert len(lines) == 20000 and len(set(lines)) == 1
