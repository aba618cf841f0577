"""Look at every built page with Chromium, and say what is wrong with it.

    python -m tools.browser [--screens DIR] [page.html ...]

Checked on each page: no error in the console and no failed request; nothing asked
of another host (such requests are stopped and counted); neither the page nor a
displayed formula wider than a 390 px screen; every formula typeset; no serious
accessibility violation (axe), in light and in dark; each slider of our own figures
answers to the keyboard.
"""

import argparse
import asyncio
import functools
import http.server
import importlib.util
import os
import sys
import threading
import time
from pathlib import Path

from playwright.async_api import Browser, Page, TimeoutError, async_playwright

from tools.settings import HTML

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
PAGES_AT_ONCE = 3
SKIPPED = {"genindex.html", "py-modindex.html", "search.html"}  # searched apart
SHOTS = 8  # pages with screenshots, at most

TYPESET = """async () => {
  for (let i = 0; i < 100 && !(window.MathJax && MathJax.startup); i++) {
    if (!document.querySelector('.math')) return;
    await new Promise(done => setTimeout(done, 50));
  }
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
}"""

FORMULAS = """() => {
  const RAW = /\\$\\$|\\\\[(\\[]|\\\\begin\\{|:::|\\{(eq|ref|doc|cite)/;
  const found = [];
  for (const e of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
    found.push('formula with an error: ' + (e.dataset.mjxError || e.textContent));
  for (const e of document.querySelectorAll('.math'))
    if (!e.querySelector('mjx-container'))
      found.push('formula not typeset: ' + e.textContent.slice(0, 60));
  const skip = new Set(['SCRIPT', 'STYLE', 'CODE', 'PRE', 'TEXTAREA', 'MJX-CONTAINER']);
  const walk = node => {
    if (node.nodeType === 3) {
      const raw = node.data.match(RAW);
      if (raw) found.push('raw markup: ' + node.data.trim().slice(0, 60));
    } else if (!skip.has(node.nodeName)) node.childNodes.forEach(walk);
  };
  const article = document.querySelector('article');
  if (article) walk(article);
  return found;
}"""

WIDER = """() => {
  const limit = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= limit) return [];
  const far = [...document.querySelectorAll('main *')]
    .filter(e => e.getBoundingClientRect().right > limit + 1).slice(0, 3)
    .map(e => e.nodeName.toLowerCase() + '.' + [...e.classList].join('.'));
  return [`${document.documentElement.scrollWidth} px wide on a ${limit} px screen: `
          + far.join(', ')];
}"""

CUT = """() => [...document.querySelectorAll('article div.math')]
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => `formula ${e.scrollWidth - e.clientWidth} px too wide for a phone, under: `
    + e.closest('section').querySelector('h1, h2, h3').textContent)"""

THEME = """theme => {
  const style = document.createElement('style');
  style.textContent = '*, *::before, *::after {transition: none !important;'
    + ' animation: none !important}';
  document.head.append(style);
  document.documentElement.dataset.theme = theme;
  document.documentElement.dataset.mode = theme;
}"""

AXE = """theme => axe.run(document, {
  // what the theme changes is colour; the rest is looked at once
  runOnly: theme === 'dark' ? {type: 'rule', values: ['color-contrast']}
    : ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],
  resultTypes: ['violations'], preload: false,
}).then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => v.impact + ' ' + v.id + ': ' + v.nodes.slice(0, 2).map(n =>
    n.target.join(' ') + ' (' + (n.any[0] || n.all[0] || n.none[0] || {}).message + ')'
  ).join('; ')))"""

READOUT = """input => [...input.closest('figure').querySelectorAll(
  'output, [aria-live]')].map(e => e.textContent.trim()).join(' | ')"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments) -> None:
        """Say nothing."""


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """Serve `folder` on a free port of this machine, in a thread."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def axe_source() -> str:
    """The accessibility checker, from its Python package."""
    found = importlib.util.find_spec("axe_playwright_python")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


async def _open(browser: Browser, address: str, problems: list[str]) -> Page:
    """A new page at `address` that reports console errors and foreign requests."""
    home = address.split("/", 3)[2]
    context = await browser.new_context(viewport=PHONE, reduced_motion="reduce")

    async def guard(route) -> None:
        url = route.request.url
        if url.startswith((f"http://{home}/", "data:", "blob:")):
            await route.continue_()
        else:
            problems.append(f"asks another host: {url[:100]}")
            await route.abort()

    await context.route("**/*", guard)
    page = await context.new_page()
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on(
        "console",
        lambda message: (
            problems.append(f"console: {message.text[:200]}")
            if message.type == "error"
            else None
        ),
    )
    page.on(
        "response",
        lambda answer: (
            problems.append(f"status {answer.status}: {answer.url}")
            if answer.status >= 400
            else None
        ),
    )
    await page.goto(address, wait_until="load")
    await page.evaluate(TYPESET)
    return page


async def _sliders(page: Page) -> list[str]:
    """Press a key on each slider of our figures: its readout must answer."""
    problems = []
    for slider in await page.query_selector_all("figure.elbo-fig input[type=range]"):
        name = await slider.get_attribute("id")
        before = await slider.evaluate(READOUT)
        await slider.focus()
        await page.keyboard.press("ArrowRight")
        after = await slider.evaluate(READOUT)
        if after == before:  # it may stand at its right end
            await page.keyboard.press("ArrowLeft")
            await page.keyboard.press("ArrowLeft")
            after = await slider.evaluate(READOUT)
        if not before or after == before:
            problems.append(f"slider {name} does not answer to the keyboard")
        if any(word in after for word in ("NaN", "Infinity", "undefined")):
            problems.append(f"slider {name} reads {after!r}")
    return problems


async def _look(browser: Browser, address: str, axe: str, shots: Path | None) -> list:
    """Everything that is wrong with one page."""
    problems: list[str] = []
    page = await _open(browser, address, problems)
    problems += await page.evaluate(WIDER)
    problems += await page.evaluate(FORMULAS)
    problems += await page.evaluate(CUT)
    problems += await _sliders(page)
    await page.evaluate(axe + "; 0")
    for theme in ("light", "dark"):
        await page.evaluate(THEME, theme)
        for size in (PHONE, DESKTOP):
            await page.set_viewport_size(size)
            if size is DESKTOP:
                problems += [f"{theme}: {v}" for v in await page.evaluate(AXE, theme)]
            if shots is not None:
                name = f"{address.rsplit('/', 1)[1][:-5]}-{size['width']}-{theme}.png"
                await page.screenshot(path=shots / name, full_page=True)
    await page.context.close()
    return problems


async def _search(browser: Browser, home: str) -> list[str]:
    """The search works without a network: it finds the word that must be there."""
    problems: list[str] = []
    page = await _open(browser, f"{home}/search.html?q=posterior", problems)
    try:
        await page.wait_for_selector("#search-results li a", timeout=10_000)
    except TimeoutError:
        problems.append("the search finds no page with the word 'posterior'")
    await page.context.close()
    return problems


async def look_at(pages: list[str], shots: Path | None) -> dict[str, list[str]]:
    """What is wrong, page by page; an empty list for a page that is well."""
    server, axe = serve(HTML), axe_source()
    home = f"http://127.0.0.1:{server.server_port}"
    shown = {p for p in pages if "/api/" not in p} if shots else set()
    shown = set(sorted(shown)[:SHOTS])
    places = asyncio.Semaphore(PAGES_AT_ONCE)
    found: dict[str, list[str]] = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        async def one(page: str) -> None:
            async with places:
                target = shots if page in shown else None
                found[page] = await _look(browser, f"{home}/{page}", axe, target)

        await asyncio.gather(*(one(page) for page in pages))
        found["search.html"] = await _search(browser, home)
        await browser.close()
    server.shutdown()
    return found


def built_pages() -> list[str]:
    """Every page with content, as a path below the site's root."""
    pages = (path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html"))
    return sorted(
        page
        for page in pages
        if page not in SKIPPED
        and page != "index.html"  # only sends on to the landing page
        and not page.startswith(("_", "mathjax/"))
    )


def main(arguments: list[str] | None = None) -> int:
    """Look at the pages, print what is wrong; the exit status says if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--screens", type=Path, help="folder for screenshots")
    parser.add_argument("pages", nargs="*", help="only these, such as book/x.html")
    given = parser.parse_args(arguments)
    if not Path(CHROMIUM).exists():
        parser.error(
            f"{CHROMIUM} is missing: apt-get install chromium, or set CHROMIUM"
        )
    pages = given.pages or built_pages()
    if not pages:
        parser.error(f"no pages in {HTML}: run make book first")
    if given.screens:
        given.screens.mkdir(parents=True, exist_ok=True)
        for old in given.screens.glob("*.png"):
            old.unlink()
    start = time.perf_counter()
    found = asyncio.run(look_at(pages, given.screens))
    for page, problems in sorted(found.items()):
        for problem in dict.fromkeys(problems):
            print(f"{page}: {problem}")
    bad, foreign = sum(map(bool, found.values())), str(found).count("another host")
    print(
        f"browser: {len(found)} pages, {bad} with problems, {foreign} requests to "
        f"other hosts, {time.perf_counter() - start:.0f} s"
    )
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
