"""Write the words of claims (what is asserted, what was tried) into the evidence that belongs to them; numbers stay.

python scripts/evidence_words.py [--check]      (--check: exit 1 if the words differ)

Words do not enter a fingerprint, so they may be mended without running a claim again.
"""

import json
import sys

from pathline import claims
from pathline.core import store
from pathline.core.claim import evidence_folder, read_evidence


def main() -> None:
    different = []
    for item in read_evidence():
        claim = claims.claim(item.key)
        words = {"asserts": " ".join((type(claim).__doc__ or "").split()), "tried": claim.tried}
        if {"asserts": item.asserts, "tried": item.tried} == words or item.stale:
            continue
        different.append(item.key)
        path = evidence_folder() / f"{item.key}.json"
        if "--check" not in sys.argv[1:]:
            store.write_json(path, json.loads(path.read_text(encoding="utf-8")) | words)
    if different and "--check" in sys.argv[1:]:
        sys.exit(
            f"the evidence of {', '.join(different)} has other words than the claim: python scripts/evidence_words.py"
        )


if __name__ == "__main__":
    main()
