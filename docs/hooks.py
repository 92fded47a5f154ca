"""Pages that nobody writes by hand: the catalogue, the evidence, one page per room and system, and the API.

They are made from `catalog.toml`, `evidence/*.json` and the packages below `src/pathline` each time the site
is built, so they cannot disagree with the code. Nothing is written to disk and pathline is not imported.
"""

import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "pathline"

ROOMS = {
    "generate": "draw new samples that look like the data",
    "compose": "build objects step by step, in proportion to a reward",
    "transport": "carry one population of samples into the next",
    "simulate": "roll the state of a physical system forward in time",
    "forecast": "predict what many sensors will read next",
    "track": "foresee where agents will go",
    "events": "model interactions that arrive one by one in time",
    "graphs": "predict on nodes, links and whole graphs",
    "recommend": "rank items for users",
    "perceive": "read motion out of images, signals and sequences",
    "weights": "predict, search or compress the weights of networks",
    "scale": "train across many processes, nodes or owners",
}

Table = dict[str, Any]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation, below the written ones."""
    _catalog.cache_clear()
    _evidence.cache_clear()
    for section in config.nav or []:
        if isinstance(section, dict) and "Catalogue" in section:
            section["Catalogue"] += [{room: _room_nav(room)} for room in ROOMS]
        elif isinstance(section, dict) and "API" in section:
            section["API"] += [{package: f"reference/{package}.md"} for package in _packages()]
    # A changed catalogue, piece of evidence or module rebuilds the site under `mkdocs serve`.
    config.watch += [str(path) for path in (SOURCE, ROOT / "evidence") if path.exists()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pictures = {f.src_uri for f in files if f.src_uri.startswith("pictures/")}
    for uri, content in _pages(pictures):
        files.append(File.generated(config, uri, content=content))
    return files


def _pages(pictures: set[str]) -> Iterator[tuple[str, str]]:
    """Path below docs/ and Markdown of every generated page."""
    yield "catalogue.md", _catalogue_page()
    yield "evidence.md", _evidence_page()
    for room in ROOMS:
        yield f"rooms/{room}/index.md", _room_page(room)
        for system in _with_page(room):
            picture = f"pictures/{system['key']}.png"
            yield f"{_folder(system)}{system['key']}.md", _system_page(system, picture in pictures)
    yield "reference/index.md", _reference_index()
    for package, modules in _packages().items():
        yield f"reference/{package}.md", _reference_page(package, modules)


def _catalogue_page() -> str:
    systems, evidence = _catalog()["system"], _evidence()
    built = sum("module" in system for system in systems)
    rooms = []
    for room, purpose in ROOMS.items():
        inside = _systems(room)
        ready = sum("module" in system for system in inside)
        holding = sum(evidence.get(system["key"], {}).get("verdict") == "holds" for system in inside)
        rooms.append([_room_link(room), purpose, len(inside), ready, holding])
    every = [
        [f"{s['number']:03d}", _link(s, _folder(s)), _room_link(s["room"]), s["title"], _state(s)] for s in systems
    ]
    return f"""# Catalogue

{len(systems)} published systems in {len(ROOMS)} rooms; {built} are built. A system counts as holding when a
program has checked what its paper claims against baselines over several seeds: see [Evidence](evidence.md).

{_table(["room", "what for", "systems", "built", "claim holds"], rooms)}

## Every system

{_table(["no.", "key", "room", "title", "state"], every)}
"""


def _evidence_page() -> str:
    evidence = sorted(_evidence().values(), key=lambda found: found["number"])
    page = """# Evidence

A claim is a program: it trains the system and its rivals on the same data, with the same budget, over several
seeds, and compares them against a margin that was fixed beforehand. `pathline claim KEY` runs it and writes
`evidence/KEY.json`; this page shows those files as they are. A claim that falls short stays here and says so.

"""
    if not evidence:
        return page + "No claim has been run yet.\n"
    holding = sum(found["verdict"] == "holds" for found in evidence)
    head = ["system", "room", "verdict", "metric", "arms: mean [lowest, highest]", "seeds", "seconds"]
    rows = [
        [
            _link(found, _folder(found)),
            found["room"],
            _verdict(found),
            found.get("metric", ""),
            "<br>".join(
                f"{arm}: {_number(mean(values))} [{_number(min(values))}, {_number(max(values))}]"
                for arm, values in found["arms"].items()
            ),
            len(_seeds(found)),
            f"{found['seconds']:.0f}",
        ]
        for found in evidence
    ]
    return f"{page}{holding} of {len(evidence)} claims hold.\n\n{_table(head, rows)}\n"


def _room_page(room: str) -> str:
    systems = _systems(room)
    rows = [[f"{s['number']:03d}", _link(s), s["title"], _citation(s), _state(s)] for s in systems]
    page = f"""# {room.capitalize()}

{ROOMS[room].capitalize()}. Published systems: {len(systems)}, built: {sum("module" in s for s in systems)}.

{_table(["no.", "key", "title", "source", "state"], rows)}
"""
    if baselines := [b for b in _catalog()["baseline"] if b["room"] == room]:
        table = _table(["key", "what it does"], [[f"`{b['key']}`", b["title"]] for b in baselines])
        page += f"\n## Baselines\n\nThey run in every comparison of this room.\n\n{table}\n"
    return page


def _system_page(system: Table, has_picture: bool) -> str:
    key, found = system["key"], _evidence().get(system["key"])
    lines = [f"# {system['title']}", "", _citation(system), ""]
    lines += [f"System {system['number']:03d}, key `{key}`, room [{system['room']}](index.md).", ""]
    if has_picture:
        lines += [f"![What {key} does on its data](../../pictures/{key}.png)", ""]
    lines += ["## Evidence", ""]
    lines += _evidence_lines(found) if found else [f"Its claim has not been run yet: `pathline claim {key}`.", ""]
    module = system.get("module", "")
    if module and (SOURCE.parent / module.replace(".", "/")).with_suffix(".py").is_file():
        lines += ["## In code", "", f"::: {module}", ""]
    return "\n".join(lines)


def _evidence_lines(found: Table) -> list[str]:
    lines = [f"**{_verdict(found)}**", ""]
    for label, field in (("The paper says", "paper"), ("What is asserted here", "asserts")):
        if found.get(field):
            lines += [f"{label}: {found[field]}", ""]
    head = [found.get("metric", "arm"), *(f"seed {seed}" for seed in _seeds(found)), "mean"]
    rows = [[arm, *map(_number, values), _number(mean(values))] for arm, values in found["arms"].items()]
    lines += [_table(head, rows), ""]
    for part in found.get("margin", []):
        lines.append(f"- {part['requirement']}: {'met' if part['holds'] else 'not met'}")
    return [*lines, "", f"{found['seconds']:.0f} seconds in all. Again: `pathline claim {found['key']}`", ""]


def _reference_index() -> str:
    rows = [
        [f"[pathline.{package}]({package}.md)", ", ".join(module.rpartition(".")[2] for module in modules)]
        for package, modules in _packages().items()
    ]
    return f"""# API

Arrows only go down: the command line and the claims stand on the rooms, the rooms on `core`, and `core` on
the ground. The systems themselves have their pages in the [catalogue](../catalogue.md).

{_table(["package", "modules"], rows)}
"""


def _reference_page(package: str, modules: list[str]) -> str:
    return f"# pathline.{package}\n\n" + "\n".join(f"::: {module}\n" for module in modules)


def _packages() -> dict[str, list[str]]:
    """Public packages and their modules; built systems are left out, they have pages of their own."""
    own_page = {system["module"] for system in _catalog()["system"] if "module" in system}
    found: dict[str, list[str]] = {}
    for package in ("core", "data", "flow", "ode", "spaces", "nn", "graph", "sims", *ROOMS):
        for file in sorted((SOURCE / package).rglob("*.py")):
            parts = file.relative_to(SOURCE.parent).with_suffix("").parts
            module = ".".join(parts)
            if module not in own_page and not any(part.startswith("_") for part in parts):
                found.setdefault(package, []).append(module)
    return found


def _room_nav(room: str) -> list[str | dict[str, str]]:
    own_pages = [{system["key"]: f"{_folder(system)}{system['key']}.md"} for system in _with_page(room)]
    return [f"rooms/{room}/index.md", *own_pages]


def _systems(room: str) -> list[Table]:
    return [system for system in _catalog()["system"] if system["room"] == room]


def _with_page(room: str) -> list[Table]:
    return [system for system in _systems(room) if _has_page(system)]


def _has_page(table: Table) -> bool:
    return "module" in table or table["key"] in _evidence()


def _folder(table: Table) -> str:
    return f"rooms/{table['room']}/"


def _link(table: Table, folder: str = "") -> str:
    return f"[{table['key']}]({folder}{table['key']}.md)" if _has_page(table) else f"`{table['key']}`"


def _room_link(room: str) -> str:
    return f"[{room}](rooms/{room}/index.md)"


def _citation(system: Table) -> str:
    arxiv = system["arxiv"]
    return system["source"] + (f", [arXiv:{arxiv}](https://arxiv.org/abs/{arxiv})" if arxiv else "")


def _state(system: Table) -> str:
    found = _evidence().get(system["key"])
    return _verdict(found) if found else "built" if "module" in system else "not built yet"


def _verdict(found: Table) -> str:
    return found["verdict"] + (" (stale: the code has changed since)" if found.get("stale") else "")


def _seeds(found: Table) -> list[int]:
    """The seeds by name; the field holds either their list or how many there are (then 0, 1, 2, ...)."""
    seeds = found["seeds"]
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


@cache
def _catalog() -> Table:
    return tomllib.loads((SOURCE / "catalog.toml").read_text(encoding="utf-8"))


@cache
def _evidence() -> dict[str, Table]:
    files = sorted((ROOT / "evidence").glob("*.json"))
    return {found["key"]: found for found in (json.loads(f.read_text(encoding="utf-8")) for f in files)}
