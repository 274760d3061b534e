"""What the documents link to is there, and so is each name that a link into the code gives."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)\)")


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/arrays.md",
        "docs/chapter.md",
        "docs/deploy.md",
        "docs/exercises.md",
        "docs/guide.md",
        "docs/experiments.md",
        "docs/reliability.md",
        "docs/tutorial.md",
    ],
)
def test_links(document: str) -> None:
    links = LINK.findall((ROOT / document).read_text())
    assert links
    for text, target in links:
        path = (ROOT / document).parent / target
        assert path.exists(), f"{document} links to {target}"
        if path.suffix == ".py" and not text.endswith(".py`"):
            name = text.strip("`").split(".")[-1].split("(")[0]
            assert re.search(rf"\b{re.escape(name)}\b", path.read_text()), f"{document}: {target} has no {name}"
