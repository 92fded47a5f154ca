"""`methods`, `info`, `datasets`: what there is."""

from typing import Annotated, Any

import typer

from pathline.cli.output import print_json, print_table

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]


def _verdicts() -> dict[str, str]:
    """Key to verdict, with a remark where the evidence is older than the code."""
    from pathline.core.claim import read_evidence

    return {item.key: item.verdict + (" (stale)" if item.stale else "") for item in read_evidence()}


def methods(
    room: Annotated[str | None, typer.Option(help="Only this room.")] = None,
    json: Json = False,
) -> None:
    """List every system and baseline, built or not, with its evidence."""
    from pathline.core import catalog

    verdicts = _verdicts()
    entries = catalog.methods(room)
    if json:
        print_json([_facts(entry, verdicts) for entry in entries])
        return
    rows = [
        [
            f"{entry.number:03d}" if entry.number else "base",
            entry.key,
            entry.room,
            "built" if entry.built else "not yet",
            verdicts.get(entry.key, "-"),
            entry.title,
        ]
        for entry in entries
    ]
    print_table(["", "key", "room", "state", "evidence", "title"], rows, left=6)
    built = [entry for entry in entries if entry.number and entry.built]
    total = [entry for entry in entries if entry.number]
    holds = sum(verdicts.get(entry.key, "") == "holds" for entry in built)
    print(f"\n{len(built)} of {len(total)} systems are built; the claims of {holds} hold.")


def _facts(entry: Any, verdicts: dict[str, str]) -> dict[str, Any]:
    return {
        "number": entry.number,
        "key": entry.key,
        "title": entry.title,
        "source": entry.source,
        "arxiv": entry.arxiv,
        "room": entry.room,
        "baseline": entry.baseline,
        "built": entry.built,
        "evidence": verdicts.get(entry.key),
    }


def info(key: Annotated[str, typer.Argument(help="Key of a system or baseline.")], json: Json = False) -> None:
    """Say what one method is, what it can be set to, and what its evidence shows."""
    import inspect

    from pathline.core import catalog
    from pathline.core.claim import read_evidence

    entry = catalog.entry(key)
    found = next((item for item in read_evidence() if item.key == key), None)
    facts = _facts(entry, _verdicts())
    about, settings, sizes = "", {}, []
    if entry.built:
        cls = entry.load()
        module = inspect.getmodule(cls)
        about = inspect.cleandoc((module.__doc__ if module and not entry.baseline else cls.__doc__) or "")
        parameters = inspect.signature(cls.__init__).parameters
        required = inspect.Parameter.empty
        settings = {name: value.default for name, value in parameters.items() if value.default is not required}
        sizes = [name for name, value in parameters.items() if value.default is required and name != "self"]
    margin = [] if found is None else found.margin
    if json:
        print_json({**facts, "about": about, "settings": settings, "from_data": sizes, "margin": margin})
        return
    number = f"{entry.number:03d} " if entry.number else ""
    print(f"{number}{entry.key}: {entry.title}")
    print(f"room {entry.room}; {entry.source}{f', arXiv {entry.arxiv}' if entry.arxiv else ''}")
    if not entry.built:
        print("not built yet")
        return
    print(f"\n{about}\n")
    print("settings: " + (", ".join(f"{name}={value}" for name, value in settings.items()) or "none"))
    if sizes:
        print("read off the data: " + ", ".join(sizes))
    if found is not None:
        print(f"\nevidence: {facts['evidence']}, seeds {', '.join(map(str, found.seeds))}")
        for item in margin:
            print(f"  {'yes' if item['holds'] else 'NO '}  {item['requirement']}")


def datasets(json: Json = False) -> None:
    """List the built-in data sets."""
    from pathline.data.sets import facts

    if json:
        print_json([{"key": key, **value} for key, value in facts().items()])
        return
    rows = [
        [key, value["container"], value.get("upstream") or value.get("package") or "simulated here", value["title"]]
        for key, value in facts().items()
    ]
    print_table(["key", "container", "from", "what"], rows, left=4)
