"""The Python programs of a page of docs, by the name of what each defines: what is run is what is read."""

import re
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program(page: str, defines: str) -> dict[str, Any]:
    """What the page's program that defines this name leaves behind when it has run."""
    (code,) = [code for code in _BLOCK.findall(Path(page).read_text()) if f"\ndef {defines}(" in code]
    made: dict[str, Any] = {}
    exec(compile(code, page, "exec"), made)  # noqa: S102 the page is ours
    return made
