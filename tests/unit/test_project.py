"""The project's own files keep their promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alliance.configuration.code import code_files, declarations
from support import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
import make_environment

LOCK = (PROJECT / "envs" / "requirements.lock").read_text(encoding="utf-8")


def test_every_package_in_the_lock_is_pinned_with_hashes_and_no_address_is_named():
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[A-Za-z0-9_.-]+==", entry) and "--hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in LOCK and "--index" not in LOCK


def test_the_lock_holds_everything_that_is_asked_for():
    asked = re.findall(r"^([A-Za-z0-9_.-]+)", (PROJECT / "envs" / "requirements.in").read_text(encoding="utf-8"), re.MULTILINE)
    pinned = {name.lower() for name in re.findall(r"^([A-Za-z0-9_.-]+)==", LOCK, re.MULTILINE)}
    assert set(asked) <= pinned


def test_the_conda_environment_is_the_one_made_from_the_lock():
    assert (PROJECT / "envs" / "environment.yaml").read_text(encoding="utf-8") == make_environment.conda_environment()


def test_an_environment_that_cannot_be_made_ends_with_its_status_and_what_to_install(tmp_path, monkeypatch, capsys):
    def refuse(*arguments, **options):
        raise subprocess.CalledProcessError(1, ["ensurepip"])

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "venv").symlink_to(elsewhere)
    monkeypatch.setattr(make_environment, "ENVIRONMENT", tmp_path / "venv")
    monkeypatch.setattr(make_environment.venv, "create", refuse)
    with pytest.raises(SystemExit) as ended:
        make_environment.build()
    assert ended.value.code == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("exit status 2: ") and "python3-venv" in last
    assert elsewhere.is_dir() and not (tmp_path / "venv").exists()


def test_the_environment_is_rebuilt_for_another_lock_and_not_for_another_time(tmp_path, monkeypatch):
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1\n", encoding="utf-8")
    monkeypatch.setattr(make_environment, "LOCK", lock)
    monkeypatch.setattr(make_environment, "ENVIRONMENT", tmp_path / "venv")
    monkeypatch.setattr(make_environment, "STAMP", tmp_path / "venv" / "lock.sha256")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    make_environment.STAMP.write_text(make_environment.lock_hash() + "\n", encoding="ascii")
    lock.touch()
    assert make_environment.is_current()
    lock.write_text("a==2\n", encoding="utf-8")
    assert not make_environment.is_current()


def test_the_code_a_script_depends_on_is_found_through_its_imports():
    names = {path.name for path in code_files(PROJECT / "scripts" / "record_provenance.py")}
    assert {"record_provenance.py", "provenance.py", "files.py", "errors.py"} <= names
    assert not names & {"page.py", "meta_analysis.py"}


def test_declarations_are_read_without_importing_the_module(tmp_path):
    module = tmp_path / "question.py"
    module.write_text("raise SystemExit\nneeds = ('a',)\ndef prepare(moments, options): pass\n", encoding="utf-8")
    assert declarations(module) == {"needs": ("a",), "prepare": "function"}


@pytest.mark.parametrize("script", sorted(path.name for path in (PROJECT / "scripts").glob("*.py")))
def test_every_script_explains_itself_without_heavy_imports(script):
    code = (
        f"import sys, runpy; sys.argv = ['{script}', '--help']; sys.path.insert(0, 'scripts')\n"
        "try:\n    runpy.run_path('scripts/" + script + "', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = sorted({'semopy', 'pingouin', 'matplotlib', 'statsmodels', 'sklearn'} & set(sys.modules))\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "usage:" in result.stdout


def test_every_job_with_tables_of_results_holds_text_as_python():
    results = PROJECT / "scripts" / "alliance" / "questions" / "contract.py"
    rules = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "workflow" / "rules").glob("*.smk"))
    # Cleaning reads long exports, and writes them.
    jobs = {PROJECT / "scripts" / name for name in re.findall(r'script\("(\w+\.py)"\)', rules)} - {PROJECT / "scripts" / "clean_site.py"}
    with_tables = {
        path for path in jobs if results in code_files(path) and "import pandas" in "".join(map(Path.read_text, code_files(path)))
    }
    assert len(with_tables) > 8
    for path in with_tables:
        assert "    hold_text_as_python()\n" in path.read_text(encoding="utf-8"), path.name


def test_no_module_of_the_statistics_knows_sites_files_or_snakemake():
    foreign = re.compile(r"alliance\.(sites|questions|reports|variables|instruments|files)|snakemake|pathlib")
    for path in (PROJECT / "scripts" / "alliance" / "statistics").glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith(("import ", "from ")):
                assert not foreign.search(line), (path.name, line)


def test_nothing_reads_the_clock_or_draws_unseeded_numbers():
    allowed = {"run_lock.py"}
    for path in (PROJECT / "scripts").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name not in allowed:
            assert not re.search(r"datetime\.now\(|date\.today\(|time\.time\(|np\.random\.(rand|normal|seed|choice)\(", text), path


def test_all_text_files_end_with_a_line_end_and_hold_no_tabs_where_spaces_are_meant():
    for path in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "workflow").rglob("*.smk")]:
        text = Path(path).read_text(encoding="utf-8")
        assert text.endswith("\n") and "\t" not in text, path
