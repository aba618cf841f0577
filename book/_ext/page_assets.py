"""Mend the theme's pages: assets nobody needs, two faults of accessibility.

sphinx-thebe's scripts start live kernels; there are none here, and they raise an
error in the console of every page. The arrows that unfold the sidebar have no name
that a screen reader could say, and the bibliography's list claims a role that its
entries do not fit.
"""

from pathlib import Path

REPLACED = {
    '<summary><span class="toctree-toggle"': (
        '<summary aria-label="pages of this part"><span class="toctree-toggle"'
    ),
    '<div role="list" class="citation-list">': '<div class="citation-list">',
}


def _unwanted(asset) -> bool:
    body = getattr(asset, "attributes", {}).get("body", "") or ""
    return "thebe" in f"{getattr(asset, 'filename', asset)} {body}".lower()


def _strip(app, pagename, templatename, context, doctree):
    for kind in ("script_files", "css_files"):
        context[kind] = [a for a in context.get(kind, []) if not _unwanted(a)]


def _mend(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        before = path.read_text(encoding="utf-8")
        after = before
        for old, new in REPLACED.items():
            after = after.replace(old, new)
        if after != before:
            path.write_text(after, encoding="utf-8")


def setup(app):
    """Register with Sphinx, after every extension that adds assets."""
    app.connect("html-page-context", _strip, priority=900)
    app.connect("build-finished", _mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
