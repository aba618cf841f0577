"""Leave out page assets that this book has no use for.

sphinx-thebe's scripts start live kernels; there are none here, and they raise an
error in the console of every page.
"""


def _unwanted(asset) -> bool:
    body = getattr(asset, "attributes", {}).get("body", "") or ""
    return "thebe" in f"{getattr(asset, 'filename', asset)} {body}".lower()


def _strip(app, pagename, templatename, context, doctree):
    for kind in ("script_files", "css_files"):
        context[kind] = [a for a in context.get(kind, []) if not _unwanted(a)]


def setup(app):
    """Register with Sphinx, after every extension that adds assets."""
    app.connect("html-page-context", _strip, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
