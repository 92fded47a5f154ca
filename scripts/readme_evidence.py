"""Write the table of verdicts into README.md, between its evidence marks, from evidence/*.json.

python scripts/readme_evidence.py [--check]      (--check: exit 1 if README.md does not say what the evidence says)
"""

import sys
from pathlib import Path

from pathline.core.claim import Evidence, read_evidence

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- evidence -->\n", "<!-- /evidence -->"


def rows(item: Evidence) -> list[str]:
    """One row per requirement of a claim."""
    verdict = item.verdict + (" (stale)" if item.stale else "")
    found = []
    for place, part in enumerate(item.margin):
        ratio = "" if part["ratio"] is None else f"{part['ratio']:.2f}"
        holds = "yes" if part["holds"] else "no"
        head = f"| {item.key} | {verdict} " if place == 0 else "| | "
        found.append(f"{head}| {part['requirement']} | {ratio} | {holds} |")
    return found


def table() -> str:
    lines = ["| system | verdict | required, over all seeds | ratio | holds |", "| --- | --- | --- | ---: | --- |"]
    return "\n".join(lines + [row for item in read_evidence() for row in rows(item)]) + "\n"


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
