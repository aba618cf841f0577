"""codespell on what people read: markdown cells, pages, docstrings and comments."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tools.notebooks import read
from tools.settings import BOOK, ROOT


def prose(folder: Path) -> None:
    """Write the markdown cells of every notebook below `folder`, one file each."""
    for path in sorted(BOOK.glob("*.ipynb")):
        cells = [c.source for c in read(path).cells if c.cell_type == "markdown"]
        (folder / f"{path.stem}.md").write_text("\n\n".join(cells), encoding="utf-8")


def main() -> int:
    """Print known misspellings; the exit status says whether there are any."""
    texts = [*ROOT.glob("*.md"), *BOOK.rglob("*.md"), *ROOT.glob("elbo_tfp/**/*.py")]
    texts += [*ROOT.glob("tests/**/*.py"), *ROOT.glob("tools/*.py")]
    with tempfile.TemporaryDirectory() as folder:
        prose(Path(folder))
        command = [sys.executable, "-m", "codespell_lib", "--toml"]
        command += [str(ROOT / "pyproject.toml"), folder, *map(str, texts)]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
