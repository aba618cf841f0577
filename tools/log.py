"""Run a command, show its output as it comes, and keep a copy: the exit status is its.

    python -m tools.log FILE COMMAND [ARGUMENT ...]

A pipe into ``tee`` would lose the status in a plain POSIX shell. What TensorFlow says
of itself when it starts goes to the copy only: it logs before it reads
``TF_CPP_MIN_LOG_LEVEL``. Its warnings and errors are shown.
"""

import re
import subprocess
import sys
from pathlib import Path

# absl's lines of severity "information", and what it says ahead of them
STARTUP = re.compile(
    r"I\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \S+:\d+\] "
    r"|WARNING: All log messages before absl::InitializeLog\(\)"
    r"|To enable the following instructions: .*rebuild TensorFlow"
)


def main(arguments: list[str]) -> int:
    """Run ``arguments[1:]`` with its output copied to the file ``arguments[0]``."""
    target, command = Path(arguments[0]), arguments[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        target.open("w", encoding="utf-8") as copy,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        for line in process.stdout:
            copy.write(line)
            if not STARTUP.match(line):
                sys.stdout.write(line)
                sys.stdout.flush()
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
