"""Write the table of verdicts into README.md, between its evidence marks, from evidence/*.json.

python scripts/readme_evidence.py [--check]      (--check: exit 1 if README.md does not say what the evidence says)
"""

import sys
from pathlib import Path

from pathline.core.claim import Evidence, read_evidence

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- evidence -->\n", "<!-- /evidence -->"


def row(item: Evidence) -> str:
    """One system: its verdict, how many of its requirements hold, and what they assert."""
    verdict = item.verdict + (" (stale)" if item.stale else "")
    held = sum(part["holds"] for part in item.margin)
    return f"| {item.key} | {item.room} | {verdict} | {held} of {len(item.margin)} | {item.asserts} |"


def table() -> str:
    lines = ["| system | room | verdict | requirements | what is asserted |", "| --- | --- | --- | --- | --- |"]
    return "\n".join(lines + [row(item) for item in read_evidence()]) + "\n"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    wanted = before + BEGIN + table() + END + after
    if "--check" in sys.argv[1:]:
        sys.exit(
            0 if wanted == text else "README.md does not say what evidence/ says: python scripts/readme_evidence.py"
        )
    README.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
