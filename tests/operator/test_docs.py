"""The documentation names what the code has, all of it and nothing else."""

import re
from pathlib import Path

import yaml

from assistant_operator import conditions
from assistant_operator.desired import COMPONENTS
from assistant_operator.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]


def _first_column(page: str, heading: str) -> set[str]:
    section = (DOCS / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_every_reason_is_explained() -> None:
    assert _first_column("conditions.md", "Reasons") == set(conditions.REASONS)


def test_every_condition_type_is_explained() -> None:
    types = {value for name, value in vars(conditions).items() if name.startswith("TYPE_")} | {"IngressReady"}
    assert _first_column("conditions.md", "Types") == types | {component.condition for component in COMPONENTS}


def test_defaults_are_the_charts() -> None:
    values = yaml.safe_load((DOCS.parent / "helm/assistant-operator/values.yaml").read_text())
    settings = Settings()
    assert {**settings.images, "runtime": "", "ui": ""} == values["defaultImages"]
    assert (settings.workers, settings.resync_seconds) == (values["workers"], values["resyncSeconds"])
    assert values["leaderElection"] == {
        "enabled": True,
        "leaseDurationSeconds": settings.lease_duration_seconds,
        "renewDeadlineSeconds": settings.renew_deadline_seconds,
        "retryPeriodSeconds": settings.retry_period_seconds,
    }
    assert (settings.log_level, settings.log_format) == (values["log"]["level"], values["log"]["format"])


def _anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), (page.name, link)
            assert not anchor or anchor in _anchors(target), (page.name, link)


def test_every_page_is_linked_from_the_readme_or_a_page_that_is() -> None:
    linked = {
        (page.parent / link).resolve() for page in PAGES for link in re.findall(r"\]\(([^)#]+)", page.read_text())
    }
    assert {page for page in PAGES[1:] if page not in linked and page.parent not in linked} == set()


def test_every_folder_of_tests_is_explained() -> None:
    explained = re.findall(r"^\| `tests/(\w+)` \|", (DOCS / "testing.md").read_text(), re.MULTILINE)
    assert set(explained) == {module.parent.name for module in (DOCS.parent / "tests").glob("*/test_*.py")}


def test_every_setting_is_explained() -> None:
    names = {f"ASSISTANT_OPERATOR_{name.upper()}" for name in Settings.model_fields}
    assert _first_column("operator.md", "Settings") == names
