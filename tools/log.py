"""Run a command, show its output as it comes, and keep a copy: the exit status is its.

    python -m tools.log FILE COMMAND [ARGUMENT ...]

A pipe into ``tee`` would lose the status in a plain POSIX shell.
"""

import subprocess
import sys
from pathlib import Path


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
            sys.stdout.write(line)
            sys.stdout.flush()
            copy.write(line)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
