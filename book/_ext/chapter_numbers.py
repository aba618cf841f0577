"""Number a chapter as its file says: `17_control.ipynb` is chapter 17, wherever it is.

The book counts its chapters one after another. While some are not written yet the
count runs behind the names, which equations and links already use.
"""

import re


def _name_s_number(docname):
    found = re.match(r"(\d\d)_", docname.rsplit("/", 1)[-1])
    return int(found[1]) if found else None


def _renumbered(number, chapter):
    return number and type(number)([chapter, *number[1:]])


def _correct(env):
    """Puts the file's number in front of each section number of a chapter."""
    for docname, numbers in env.toc_secnumbers.items():
        chapter = _name_s_number(docname)
        if chapter is None:
            continue
        for anchor, number in numbers.items():
            numbers[anchor] = _renumbered(number, chapter)
        for node in (*env.tocs[docname].findall(), env.titles[docname]):
            if getattr(node, "attributes", {}).get("secnumber"):
                node["secnumber"] = _renumbered(node["secnumber"], chapter)


def setup(app):
    """Let the book's collector count first, and correct what it counted."""
    from sphinx_external_toc.collectors import TocTreeCollectorWithStyles as Collector

    count = Collector.assign_section_numbers

    def assign_section_numbers(self, env):
        rewritten = count(self, env)
        _correct(env)
        return rewritten

    Collector.assign_section_numbers = assign_section_numbers
    return {"parallel_read_safe": True, "parallel_write_safe": True}
