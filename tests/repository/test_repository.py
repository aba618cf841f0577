"""What surrounds the package: one address, one version, lower bounds, exact pins."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from tools import readme
from tools.settings import ROOT, branch, config, pip_address, repository_url

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def _text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def _version():
    return re.search(r'^__version__ = "(.+)"$', _text("elbo_tfp/__init__.py"), re.M)[1]


# ---------------------------------------------------------------- one address


def test_every_file_names_the_same_address():
    url = repository_url()
    assert PROJECT["project"]["urls"]["Homepage"] == url
    assert PROJECT["project"]["urls"]["Issues"] == f"{url}/issues"
    citation = yaml.safe_load(_text("CITATION.cff"))
    assert citation["repository-code"] == url
    owner, name = url.removeprefix("https://github.com/").split("/")
    site = f"https://{owner}.github.io/{name}/"
    assert citation["url"] == PROJECT["project"]["urls"]["Book"] == site
    assert config()["html"]["baseurl"] == site
    assert config()["sphinx"]["config"]["ogp_site_url"] == site


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("*.md"), *ROOT.glob("book/**/*.md"), *ROOT.glob("book/*.ipynb")],
    ids=lambda path: path.name,
)
def test_links_to_the_repository_name_its_address(path):
    url, text = repository_url(), path.read_text(encoding="utf-8")
    slug = url.removeprefix("https://github.com/")
    for found in re.findall(r"git\+https://[^\s\"'`)\\]+", text):
        assert found.removesuffix("[all]") in {pip_address(), f"git+{url}"}
    for found in re.findall(
        r"colab\.research\.google\.com/github/([^\s\"')\\]+)", text
    ):
        if found.startswith("OWNER/NAME"):
            continue  # the skeleton in CONTRIBUTING.md
        assert found.startswith(f"{slug}/blob/{branch()}/")
        assert (ROOT / found.removeprefix(f"{slug}/blob/{branch()}/")).exists()


# ---------------------------------------------------------------- one version


def test_every_file_names_the_same_version():
    assert yaml.safe_load(_text("CITATION.cff"))["version"] == _version()
    assert f"\n## {_version()}\n" in _text("CHANGELOG.md")
    dynamic = PROJECT["tool"]["setuptools"]["dynamic"]["version"]
    assert dynamic == {"attr": "elbo_tfp.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", _version())


# ---------------------------------------------------------------- dependencies


def test_package_declares_lower_bounds_only():
    declared = {
        requirement.name: str(requirement.specifier)
        for requirement in map(Requirement, PROJECT["project"]["dependencies"])
    }
    assert declared == {
        "tensorflow": ">=2.19",
        "tf-keras": ">=2.19",
        "tensorflow-probability": ">=0.25",
        "keras": ">=3.5",
        "numpy": ">=2.0",
        "scipy": ">=1.13",
        "matplotlib": ">=3.10",
        "scikit-learn": ">=1.5",
        "tqdm": ">=4.66",
    }
    assert PROJECT["project"]["requires-python"] == ">=3.11"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_pins_are_exact_and_cover_what_is_declared(version):
    environment = {"python_version": version}
    pinned = {}
    for pin in PINS:
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin
        if pin.marker is None or pin.marker.evaluate(environment):
            name = re.sub(r"[-_.]+", "-", pin.name).lower()
            assert name not in pinned, f"{name} is pinned twice on {version}"
            pinned[name] = str(pin.specifier).removeprefix("==")
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"]
    wanted = [*wanted, *extras["codes"], *extras["arviz"], *extras["dev"]]
    for requirement in map(Requirement, wanted):
        assert requirement.name in pinned
        assert requirement.specifier.contains(pinned[requirement.name])


def test_oldest_constraints_are_the_lower_bounds():
    oldest = dict(
        line.split("==")
        for line in _text(".github/constraints-oldest.txt").splitlines()
        if line and not line.startswith("#")
    )
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        for specifier in requirement.specifier:
            assert oldest[requirement.name].startswith(specifier.version)


def test_package_is_typed_and_takes_its_marker_along():
    assert (ROOT / "elbo_tfp" / "py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["elbo_tfp"]


# ---------------------------------------------------------------- commands


def test_make_help_lists_what_the_readme_names():
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in (
        "book",
        "test",
        "lint",
        "bench",
        "browser",
        "notebooks",
        "clean",
        "faults",
        "oldest",
        "colab",
    ):
        assert re.search(rf"^  make {target} ", listed, flags=re.M)


def _without_environment(tmp_path, python):
    """What tools/venv.sh says in a fresh clone where `python` is all there is."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/venv.sh", "requirements.txt"):
        (tmp_path / name).write_text(_text(name))
    return subprocess.run(
        ["sh", "tools/venv.sh"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


def _script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_an_unsupported_python_is_named(tmp_path):
    old = _script(tmp_path / "python", "echo 3.10")
    answer = _without_environment(tmp_path, old)
    assert answer.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in answer.stderr
    assert f"{old}=3.10" in answer.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_does_not_run_is_not_chosen(tmp_path):
    shim = _script(tmp_path / "python", "exit 127")
    answer = _without_environment(tmp_path, shim)
    assert answer.returncode == 1
    assert "no Python that runs" in answer.stderr


def test_a_missing_venv_module_is_named(tmp_path):
    body = 'case "$2" in *version_info*) echo 3.12 ;; *) exit 1 ;; esac'
    answer = _without_environment(tmp_path, _script(tmp_path / "python", body))
    assert answer.returncode == 1
    assert "no working 'venv' module" in answer.stderr
    assert "python3.12-venv" in answer.stderr


def test_log_keeps_the_output_and_the_status(tmp_path):
    log = tmp_path / "log" / "x.txt"
    code = "print('last words'); raise SystemExit(3)"
    answer = subprocess.run(
        [sys.executable, "-m", "tools.log", str(log), sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 3
    assert log.read_text() == answer.stdout == "last words\n"


def test_log_hides_what_tensorflow_says_when_it_starts_and_no_error(tmp_path):
    shown = [
        "E0000 00:00:1796028523.642708    7974 cuda.cc:1] failed",
        "W0000 00:00:1796028523.642708    7974 cuda.cc:1] slow",
        "I think, therefore I am",
    ]
    hidden = [
        "WARNING: All log messages before absl::InitializeLog() is called are written",
        "I0000 00:00:1796028523.642708    7974 port.cc:153] oneDNN custom operations",
    ]
    log = tmp_path / "x.txt"
    command = [sys.executable, "-m", "tools.log", str(log), "printf", "%s\\n"]
    command += hidden + shown
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines() == shown
    assert log.read_text().splitlines() == hidden + shown


# ---------------------------------------------------------------- the README


def test_readme_prints_what_it_says_and_lists_the_chapters():
    text = _text("README.md")
    assert readme.updated(text) == text, "run python -m tools.readme"


def test_readme_example_is_short_and_its_links_lead_somewhere():
    text = _text("README.md")
    code = [line for line in readme.example(text).splitlines() if line.strip()]
    assert len(code) <= 12
    assert "nan" not in text.lower()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
