"""A process that has imported the libraries and starts each job of a run as a copy of itself.

Half a second of processor time goes into the imports of every job, more than many jobs need for their work. The operating system copies
a process with all it has imported in milliseconds. Only on Linux, and only where jobs run on this machine: everywhere else
:mod:`alliance.launch.start_job` starts jobs by themselves. A copy knows nothing of other jobs; a file of the project that changed after
it was imported makes the rest of the run start cold.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from alliance.configuration.code import SCRIPTS, code_digest, code_files
from alliance.launch.start_job import ADDRESS, COLD

LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "scipy.linalg", "scipy.optimize", "scipy.special", "pydantic", "yaml"),
    # The last steps of a run, which wait for nothing but each other, need these.
    *("matplotlib.figure", "matplotlib.backends.backend_svg"),
)
"""What the project's modules import only when they need it, as far as several jobs do; done while Snakemake plans the run.

What one job needs, such as semopy, it imports itself: the larger this process, the longer each of its copies takes to begin and to end.
"""
OWN = ("questions", "reports", "sensitivity", "sites", "statistics")
"""Packages of the project whose modules jobs use."""
COMMAND, ESTIMATE = SCRIPTS / "serve_jobs.py", SCRIPTS / "estimate_site.py"
RARELY = (100_000, 50, 50)
"""When jobs look for memory to free: they end soon, and a workbook of a million cells took a quarter longer with Python's own numbers."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Bytes. Arrays of resamples come and go; the C library would hand the memory of each back to the system, which clears it anew.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    "MALLOC_TOP_PAD_": str(16 * 2**20),
    # A thread of pyarrow's allocator that is not used would forbid copies of the process.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


@contextlib.contextmanager
def warm_process() -> Iterator[Callable[[], None]]:
    """Have jobs started within the block be copies of one process that imports the libraries first; it ends with the block, or with us.

    Yields
    ------
    callable
        Ends the process at once, for those who find that their jobs run elsewhere.
    """
    with contextlib.ExitStack() as until_the_end:
        started: list[subprocess.Popen[bytes]] = []
        if sys.platform == "linux":
            # Jobs start by themselves where no socket can be made: temporary folder full, or its path too long for one.
            with contextlib.suppress(OSError):
                started.append(_start(until_the_end))

        def dismiss() -> None:
            os.environ.pop(ADDRESS, None)
            for process in started:
                process.kill()

        yield dismiss


def _start(until_the_end: contextlib.ExitStack) -> subprocess.Popen[bytes]:
    """Start the process, and say in the environment where it listens."""
    # The folder is readable by its owner alone, and so is the socket.
    folder = until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="alliance-"))
    address = os.path.join(folder, "jobs")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(128)
        lifeline, ours = os.pipe()
        process = subprocess.Popen(
            [sys.executable, str(COMMAND), str(listener.fileno()), str(lifeline)],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            pass_fds=(listener.fileno(), lifeline),
        )
    os.close(lifeline)
    os.environ[ADDRESS] = address
    until_the_end.callback(process.wait)
    until_the_end.callback(os.close, ours)
    until_the_end.callback(os.environ.pop, ADDRESS, None)
    return process


def imported() -> dict[str, os.stat_result]:
    """Import what jobs need and return the files of the project that were read, as they were."""
    folders = [SCRIPTS / "alliance" / package for package in OWN]
    paths = [path for folder in folders for pattern in ("*.py", "*/question.py") for path in sorted(folder.glob(pattern))]
    own = [".".join(path.relative_to(SCRIPTS).with_suffix("").parts) for path in paths]
    for name in (*LIBRARIES, *own):
        # A module that cannot be imported is told by the job that needs it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    for prepare in (_use_libraries, _read_instruments, _read_code):
        with contextlib.suppress(Exception):
            prepare()
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    with contextlib.suppress(Exception):
        files |= {str(file) for file in code_files(ESTIMATE, *_questions())}
    return {file: os.stat(file) for file in sorted(filter(None, files)) if Path(file).is_relative_to(SCRIPTS)}


def _use_libraries() -> None:
    """Do once what nearly every job does with tables: libraries import more, and look up what they keep, when they are first used."""
    import numpy as np
    import pandas as pd
    from scipy.optimize import brentq, minimize

    from alliance.files import hold_text_as_python, read_parquet, write_parquet

    table = pd.DataFrame({"text": ["a", "b", "b"], "number": [1.0, np.nan, 2.0], "count": pd.array([1, None, 2], dtype="Int64")})
    storage = pd.get_option("mode.string_storage")
    hold_text_as_python()
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(Path(folder) / "table.parquet", table)
        table = read_parquet(Path(folder) / "table.parquet")
    table.groupby("text", sort=True)["number"].mean().reindex(["b", "c"]).fillna(0.0)
    table.merge(table, on="text").sort_values(["text", "number_x"]).drop_duplicates("text").reset_index(drop=True).to_dict("records")
    table.set_index(["text", "number"])["count"].unstack()
    pd.concat([table, table[table["text"].isin(["a"])]], ignore_index=True).to_numpy()
    matrix = np.eye(2)
    for function in (np.linalg.inv, np.linalg.eigh, np.linalg.cholesky, np.linalg.svd, np.linalg.slogdet, np.unique, np.median):
        function(matrix)
    minimize(np.linalg.norm, np.ones(2), method="L-BFGS-B")
    brentq(np.sin, 3.0, 4.0)
    pd.set_option("mode.string_storage", storage)


def _read_instruments() -> None:
    """Read the files of the shipped instruments, of which jobs then only see that they are the same."""
    from alliance.instruments.registry import SHIPPED, load_registry

    load_registry([SHIPPED])


def _read_code() -> None:
    """Make the digests of code with which the answers of sites are signed."""
    for question in _questions():
        code_digest(ESTIMATE, question)


def _questions() -> list[Path]:
    return sorted((SCRIPTS / "alliance" / "questions").glob("*/question.py"))


def is_current(files: dict[str, os.stat_result]) -> bool:
    """Return whether files are as they were when they were imported."""
    try:
        return all((now := os.stat(file)).st_mtime_ns == then.st_mtime_ns and now.st_size == then.st_size for file, then in files.items())
    except OSError:
        return False


def serve(listener: socket.socket, lifeline: int) -> None:
    """Start jobs until the other end of the lifeline is closed."""
    # What is imported stays: to look for garbage in it takes a fifth of the time of its import.
    gc.disable()
    files = imported()
    # Without this the first collection in every job would touch, and so copy, all memory.
    gc.freeze()
    gc.enable()
    gc.set_threshold(*RARELY)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while lifeline not in select.select([listener, lifeline], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(lifeline)
            become_the_job(connection, files)
        connection.close()
        _bury(os.WNOHANG)
    _bury(0)


def _bury(options: int) -> None:
    """Take leave of jobs that have ended: so their processor time counts as that of the run. Their status they have told themselves."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def become_the_job(connection: socket.socket, files: dict[str, os.stat_result]) -> None:
    """Run the job that a connection asks for in this process, and end with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    request = b""
    while len(head) < 8 or len(request) < int.from_bytes(head, "big"):
        part = connection.recv(1 << 20)
        if not part:
            # Whoever asked has ended before the end of the question.
            os._exit(1)
        request += part
    folder, size, *parts = request.decode("utf-8", "surrogateescape").split("\0")
    call, environment = parts[: int(size)], parts[int(size) :]
    if not is_current(files):
        connection.sendall(COLD)
        os._exit(0)
    # Whoever asked was killed if the connection breaks, and the job with it: this is what the signal does by default.
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(part.split("=", 1) for part in environment)
    status = status_of(call)
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) & ~os.O_ASYNC)
    connection.sendall(str(status).encode())
    # Taking a process with all libraries apart would cost a tenth of what its start did.
    os._exit(status)


def status_of(call: Sequence[str]) -> int:
    """Run a script as ``python script.py arguments`` would, and return its exit status."""
    sys.argv = list(call)
    sys.path[0] = os.path.dirname(os.path.abspath(call[0]))
    try:
        runpy.run_path(call[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        status = 0 if end.code is None else end.code & 0xFF if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return status
