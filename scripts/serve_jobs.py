"""Start the jobs of a run as copies of this process, which has imported the libraries; called by the launcher, not by hand."""

from __future__ import annotations

import argparse
import socket

from alliance.launch.warm_process import serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("listener", type=int, help="open socket on which jobs are asked for")
    parser.add_argument("lifeline", type=int, help="open pipe that is closed when the run ends")
    given = parser.parse_args()
    serve(socket.socket(fileno=given.listener), given.lifeline)


if __name__ == "__main__":
    main()
