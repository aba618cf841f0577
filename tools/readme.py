"""Keep README.md true: its example's output, its list of chapters, its figure.

    python -m tools.readme           # rewrite what is between the marks
    python -m tools.readme --figure  # draw the figure again

A test compares the file with what this would write.
"""

import contextlib
import io
import re
import sys

from tools.notebooks import read, write_if_changed
from tools.settings import BOOK, ROOT, chapters, colab_url

README = ROOT / "README.md"
FIGURE = BOOK / "_static" / "bound.svg"


def example(text: str) -> str:
    """The README's first Python block."""
    return re.search(r"```python\n(.*?)```", text, flags=re.S)[1]


def output_of(code: str) -> str:
    """What `code` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {"__name__": "__readme__"})
    return printed.getvalue()


def _title(path) -> str:
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    return re.search(r"^# +(.+?)\s*$", text, flags=re.M)[1]


def chapter_list() -> str:
    """One line per chapter: its title, and where Colab opens it."""
    badge = "![Open in Colab](book/_static/colab.svg)"
    return "".join(
        f"{int(path.stem[:2])}. [{_title(path)}](book/{path.name}) "
        f"[{badge}]({colab_url(f'book/{path.name}')})\n"
        for path in chapters()
    )


def _between(mark: str, text: str, content: str) -> str:
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    if not re.search(pattern, text, flags=re.S):
        raise ValueError(f"README.md has no marks <!-- {mark} --> ... <!-- /{mark} -->")
    return re.sub(pattern, lambda m: m[1] + content + m[2], text, flags=re.S)


def updated(text: str) -> str:
    """`text` with its example's true output and today's chapters."""
    printed = f"```text\n{output_of(example(text))}```\n"
    return _between("chapters", _between("output", text, printed), chapter_list())


def figure() -> None:
    """Draw the bound below the evidence, as a q of fixed width moves over z."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt
    import numpy as np

    # x = 1 under z ~ N(0, 1), x given z ~ N(z, 1): the posterior is N(1/2, 1/2)
    log_p, mean = -0.25 - 0.5 * np.log(4 * np.pi), np.linspace(-1, 2, 301)

    def bound(variance):
        # KL(N(m, v) || N(1/2, 1/2)) = (2 v + 2 (m - 1/2)^2 - 1 - log(2 v)) / 2
        gap = variance + (mean - 0.5) ** 2 - 0.5 - 0.5 * np.log(2 * variance)
        return log_p - gap

    mpl.rcParams.update({"svg.hashsalt": "elbo-tfp", "font.size": 11})
    fig, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.axhline(log_p, color="#123a52", lw=2)
    axes.plot(mean, bound(0.5), color="#c46a00", lw=2.2)
    axes.plot(mean, bound(0.15), color="#0072b2", lw=2, dashes=(5, 2))
    axes.plot(0.5, log_p, "o", color="#c46a00", ms=8)
    axes.text(-0.95, log_p + 0.05, r"$\log p(x)$, the evidence", va="bottom")
    axes.text(1.3, -2.1, "as wide as\nthe posterior", color="#8a4a00", va="bottom")
    axes.text(0.5, -2.2, "too narrow", color="#00568a", ha="center")
    axes.set(xlabel="mean of q", ylabel="ELBO (nats)", ylim=(-3.4, -1.2), xlim=(-1, 2))
    axes.spines[["top", "right"]].set_visible(False)
    fig.savefig(FIGURE, metadata={"Date": None}, facecolor="white")


def main(arguments: list[str]) -> int:
    """Rewrite the README, or draw its figure."""
    if "--figure" in arguments:
        figure()
    changed = write_if_changed(README, updated(README.read_text(encoding="utf-8")))
    print(f"README.md {'written' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
