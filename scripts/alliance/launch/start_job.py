"""Start a script of the pipeline: from the warm process of this run where there is one, else by itself.

Called as ``python -I -S start_job.py script.py arguments``; ``-I -S`` and few imports keep the start short (0.01 s). The warm process is
that of :mod:`alliance.launch.warm_process`. The script's output, folder, environment and exit status are those of a plain call.
"""

import os
import sys

ADDRESS = "ALLIANCE_WARM_PROCESS"
"""Environment variable with the socket of the warm process."""
COLD = b"cold"
"""Answer of a warm process that must not be used, since a file that it has read was changed."""
KILLED = 137
"""Exit status of a job that ended without an answer: what a shell gives for a process that the system killed."""


def status_of_warm_start(address: str, call: list[str]) -> int | None:
    """Have the warm process run a script and return its exit status; None where it has to be started cold.

    Parameters
    ----------
    address : str
        The socket.
    call : list of str
        The script and its arguments.
    """
    # What `socket` is made of: with all that it imports, a start would take half as long again. Not every system has these.
    from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket

    environment = [f"{name}={value}" for name, value in os.environ.items()]
    parts = [os.getcwd(), str(len(call)), *call, *environment]
    request = "\0".join(parts).encode("utf-8", "surrogateescape")
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    connection = socket(AF_UNIX)
    try:
        connection.connect(address)
        connection.sendmsg([len(request).to_bytes(8, "big")], [(SOL_SOCKET, SCM_RIGHTS, streams)])
        connection.sendall(request)
    except OSError:
        return None
    answer = connection.recv(16)
    connection.close()
    if answer == COLD:
        return None
    return int(answer) if answer else KILLED


def main() -> None:
    call = sys.argv[1:]
    address = os.environ.get(ADDRESS)
    status = status_of_warm_start(address, call) if address else None
    if status is None:
        os.execv(sys.executable, [sys.executable, *call])
    # Nothing is open that Python would have to close.
    os._exit(status)


if __name__ == "__main__":
    main()
