"""`claim` and `evidence`: show that a system does what its paper says, and read the record."""

from collections.abc import Sequence
from typing import Annotated

import typer

from pathline.cli.catalogue import Json
from pathline.cli.output import finite, print_json, print_table, say

LEAST_SEEDS = 3


def claim(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of systems.")] = None,
    room: Annotated[str | None, typer.Option(help="All systems of this room that have a claim.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every system that has a claim.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds, from 0; by default its own.")] = None,
    first_seed: Annotated[
        int | None, typer.Option(min=0, help="Check with fresh seeds from this one on; nothing is recorded.")
    ] = None,
    json: Json = False,
) -> None:
    """Run claims and record what came out (from 3 seeds on)."""
    from dataclasses import asdict

    from pathline import claims
    from pathline.core.claim import record, run_claim
    from pathline.core.errors import MethodError

    wanted = list(keys or []) or (claims.claimed(room) if room or all_ else [])
    if not wanted:
        raise MethodError("name a system, --room ROOM or --all; with a claim: " + ", ".join(claims.claimed()))
    made = []
    for one in [claims.claim(key) for key in wanted]:
        evidence = run_claim(one, _chosen(one.seeds, seeds, first_seed))
        made.append(evidence)
        if first_seed is not None:
            say(f"{evidence.key}: a check with seeds {', '.join(map(str, evidence.seeds))}; nothing was recorded")
        elif len(evidence.seeds) < LEAST_SEEDS:
            say(f"{evidence.key}: {len(evidence.seeds)} seeds are no evidence; nothing was recorded")
        else:
            path = record(evidence)
            picture = one.picture()
            pictures = path.parents[1] / "docs" / "pictures"
            if picture is not None and pictures.parent.exists():
                pictures.mkdir(exist_ok=True)
                picture.savefig(pictures / f"{evidence.key}.png", dpi=110)
            say(f"recorded: {path}")
        if not json:
            print(f"{evidence.key}: {evidence.verdict}")
            for item in evidence.margin:
                ratio = f"  (ratio {item['ratio']:.3g})" if item["ratio"] is not None else f"  ({item['mean']:.4g})"
                print(f"  {'yes' if item['holds'] else 'NO '}  {item['requirement']}{ratio}")
    if json:
        documents = [finite(asdict(evidence)) for evidence in made]
        print_json(documents[0] if len(documents) == 1 else documents)


def _chosen(own: Sequence[int], count: int | None, first: int | None) -> Sequence[int]:
    """The claim's own seeds, or `count` of them from `first` on."""
    if count is None and first is None:
        return own
    begin = first or 0
    return range(begin, begin + (count or len(own)))


def evidence(
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 unless every built system has fresh evidence.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what has been shown, and what is stale."""
    from dataclasses import asdict

    from pathline.core import catalog
    from pathline.core.claim import read_evidence

    found = read_evidence()
    if json:
        print_json([asdict(item) for item in found])
    else:
        rows = [
            [
                f"{item.number:03d}",
                item.key,
                item.room,
                item.verdict + (" (stale)" if item.stale else ""),
                f"{sum(part['holds'] for part in item.margin)}/{len(item.margin)}",
                str(len(item.seeds)),
                f"{item.seconds:.0f}",
                item.asserts,
            ]
            for item in found
        ]
        heads = ["", "key", "room", "verdict", "margins", "seeds", "seconds", "what is asserted"]
        print_table(heads, rows, left=4, words_last=True)
    if not check:
        return
    have = {item.key: item for item in found}
    faults = [f"{e.key} has no evidence" for e in catalog.systems() if e.built and e.key not in have]
    faults += [f"the evidence of {key} is stale: pathline claim {key}" for key, item in have.items() if item.stale]
    faults += [
        f"{key} has fewer than {LEAST_SEEDS} seeds" for key, item in have.items() if len(item.seeds) < LEAST_SEEDS
    ]
    for fault in faults:
        say(fault)
    raise typer.Exit(1 if faults else 0)
