"""Write the generated part of docs/diagnosis.md; ``--check`` only compares."""

import sys
from pathlib import Path

from run_assets.diagnostics.explain import parts_as_markdown, rules_as_markdown

PAGE = Path(__file__).parent / "diagnosis.md"
BEGIN = "<!-- generated from run_assets/diagnostics: make docs -->\n"


def main() -> int:
    """Write or compare the page."""
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text)
    if "--check" in sys.argv[1:]:
        if wanted != text:
            sys.stderr.write(f"{PAGE} differs from the rules; run `make docs`\n")
        return int(wanted != text)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def page(text: str) -> str:
    """The page with its generated end made anew."""
    written = text.partition(BEGIN)[0]
    return f"{written}{BEGIN}\n{rules_as_markdown()}\n\n{parts_as_markdown()}\n"


if __name__ == "__main__":
    sys.exit(main())
