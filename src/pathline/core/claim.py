"""Claim and Evidence: a paper's headline as a program, and the record of what came out.

A claim is judged by its requirements. Each compares one arm with another (or with a constant): the mean over seeds
must clear the margin, and where the margin asks for an improvement every seed must point that way too. The record keeps
every number, the versions and the data it was made with, and a fingerprint of the claim's and the methods' source, so
that evidence which no longer belongs to the code is marked stale.
"""

import ast
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pathline.core import catalog, store
from pathline.core.errors import MethodError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pathline.core.method import Method

C = TypeVar("C")


@dataclass(frozen=True)
class Requirement:
    """`arm <= factor * rival + plus` (or >=); without a rival, `arm <= factor + plus`."""

    arm: str
    relation: Literal["<=", ">="]
    factor: float
    rival: str | None
    plus: float = 0.0
    each_seed: bool = False

    def __str__(self) -> str:
        bound = f"{self.factor:g}" if self.rival is None else f"{self.factor:g} x {self.rival}"
        if self.plus:
            bound += f" {'+' if self.plus > 0 else '-'} {abs(self.plus):g}"
        return f"{self.arm} {self.relation} {bound}, {'on every seed' if self.each_seed else 'in the mean'}"

    def _clears(self, value: float, rival: float | None, strict_side: bool = False) -> bool:
        bound = self.factor if rival is None else self.factor * rival
        bound += self.plus
        if strict_side and rival is not None:
            bound = rival
        return value <= bound if self.relation == "<=" else value >= bound

    @property
    def _asks_improvement(self) -> bool:
        """Whether the margin puts the arm on the good side of its rival (and not merely near it)."""
        if self.rival is None:
            return False
        if self.relation == "<=":
            return self.factor <= 1 and self.plus <= 0
        return self.factor >= 1 and self.plus >= 0

    def judge(self, arms: dict[str, list[float]]) -> dict[str, Any]:
        """Verdict of this requirement, with the numbers it rests on."""
        for name in (self.arm, self.rival):
            if name is not None and name not in arms:
                raise MethodError(f"the claim requires an arm '{name}', but run() returned {', '.join(arms)}")
        values = arms[self.arm]
        rivals: Sequence[float | None] = [None] * len(values) if self.rival is None else arms[self.rival]
        mean_rival = None if self.rival is None else fmean(arms[self.rival])
        mean_holds = self._clears(fmean(values), mean_rival)
        if self.each_seed:
            seeds = [self._clears(value, rival) for value, rival in zip(values, rivals, strict=True)]
        elif self._asks_improvement:
            seeds = [self._clears(v, r, strict_side=True) for v, r in zip(values, rivals, strict=True)]
        else:
            seeds = [True] * len(values)
        return {
            "requirement": str(self),
            "holds": mean_holds and all(seeds),
            "mean": fmean(values),
            "rival_mean": mean_rival,
            "ratio": fmean(values) / mean_rival if mean_rival else None,
            "seeds_hold": seeds,
        }


def at_most(
    arm: str, factor: float, rival: str | None = None, plus: float = 0.0, each_seed: bool = False
) -> Requirement:
    """`arm` is at most `factor` times `rival` (plus a constant)."""
    return Requirement(arm, "<=", factor, rival, plus, each_seed)


def at_least(
    arm: str, factor: float, rival: str | None = None, plus: float = 0.0, each_seed: bool = False
) -> Requirement:
    """`arm` is at least `factor` times `rival` (plus a constant)."""
    return Requirement(arm, ">=", factor, rival, plus, each_seed)


class Claim:
    """A system's headline at desk size. Subclasses state the fields and write `run`.

    Attributes:
        system:    key of the system
        baselines: keys of catalogued methods it is compared with
        paper:     the paper's words and number
        metric, better: what is measured, and whether lower or higher is better
        require:   the requirements, all of which must hold
        seeds:     seeds of the committed evidence, at least 3
        tried:     for a claim that falls short: what was tried to make it hold
    """

    system: ClassVar[str]
    baselines: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""
    metric: ClassVar[str] = ""
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    require: ClassVar[tuple[Requirement, ...]] = ()
    seeds: ClassVar[tuple[int, ...]] = (0, 1, 2)
    tried: ClassVar[str] = ""

    def __init__(self) -> None:
        self.fingerprints: dict[str, str] = {}

    def uses(self, data: C) -> C:
        """Note the fingerprint of a container for the record, and hand it on."""
        self.fingerprints[data.name] = data.fingerprint()  # type: ignore[attr-defined]
        return data

    def run(self, seed: int) -> dict[str, float]:
        """Value of every arm for one seed. Arms share data, budget and code path."""
        raise NotImplementedError

    def picture(self) -> "Figure | None":
        """What a reader should see, after the last seed; or None."""
        return None


@dataclass(frozen=True)
class Evidence:
    """What a claim produced; the JSON of evidence/<key>.json."""

    key: str
    number: int
    room: str
    verdict: Literal["holds", "falls short"]
    seeds: list[int]
    arms: dict[str, list[float]]
    margin: list[dict[str, Any]]
    seconds: float
    paper: str
    asserts: str
    metric: str
    better: str
    baselines: list[str]
    versions: dict[str, str]
    data: dict[str, str]
    fingerprint: str
    tried: str = ""
    stale: bool = field(default=False)


def widest_within(count: int, build: "Callable[[int], Method]") -> int:
    """The largest width whose network has at most `count` trainable parameters; `build` makes one of a given width."""
    width = 4
    while build(width + 1).parameter_count() <= count:
        width += 1
    return width


def source_fingerprint(files: Sequence[Path]) -> str:
    """sha256 over the syntax trees of `files`: comments, docstrings, layout and what a claim `tried` do not count."""
    digest = hashlib.sha256()
    for file in sorted(files):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            has_docstring = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            if isinstance(node, has_docstring) and ast.get_docstring(node, clean=False) is not None:
                node.body.pop(0)
            if isinstance(node, ast.ClassDef):
                node.body = [part for part in node.body if not _says_what_was_tried(part)]
        digest.update(file.name.encode())
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _says_what_was_tried(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "tried" for t in node.targets)


def claim_files(claim_file: Path, system: str, baselines: Sequence[str]) -> list[Path]:
    """The claim's file and those of the methods it compares."""
    root = Path(__file__).resolve().parents[1]
    modules = [catalog.entry(key).module for key in (system, *baselines)]
    files = [root.joinpath(*module.split(".")[1:]).with_suffix(".py") for module in modules if module]
    return [claim_file, *dict.fromkeys(files)]


def run_claim(claim: Claim, seeds: Sequence[int] | None = None, log: bool = True) -> Evidence:
    """Run `claim` on each seed and judge it. Nothing is written: see `record`."""
    entry = catalog.entry(claim.system)
    assert entry.number is not None
    chosen = list(claim.seeds if seeds is None else seeds)
    arms: dict[str, list[float]] = {}
    began = time.monotonic()
    for seed in chosen:
        values = claim.run(seed)
        if log:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            print(f"  {claim.system}, seed {seed}: {shown}", file=sys.stderr, flush=True)
        for name, value in values.items():
            arms.setdefault(name, []).append(float(value))
    judged = [requirement.judge(arms) for requirement in claim.require]
    file = Path(sys.modules[type(claim).__module__].__file__ or "")
    return Evidence(
        key=claim.system,
        number=entry.number,
        room=entry.room,
        verdict="holds" if all(item["holds"] for item in judged) else "falls short",
        seeds=chosen,
        arms=arms,
        margin=judged,
        seconds=round(time.monotonic() - began, 1),
        paper=claim.paper,
        asserts=" ".join((type(claim).__doc__ or "").split()),
        metric=claim.metric,
        better=claim.better,
        baselines=list(claim.baselines),
        versions=store.versions(),
        data=dict(claim.fingerprints),
        fingerprint=source_fingerprint(claim_files(file, claim.system, claim.baselines)),
        tried=claim.tried,
    )


def evidence_folder() -> Path:
    """evidence/ of the checkout that pathline is imported from; for an installed wheel, the copy it carries."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    return checkout / "evidence" if (checkout / "pyproject.toml").exists() else package / "evidence"


def record(evidence: Evidence, folder: Path | None = None) -> Path:
    """Write evidence/<key>.json, whole."""
    path = (folder or evidence_folder()) / f"{evidence.key}.json"
    document = asdict(evidence)
    document.pop("stale")
    store.write_json(path, document)
    return path


def read_evidence(folder: Path | None = None) -> list[Evidence]:
    """All recorded evidence by number, each marked stale if its claim or methods have changed since."""
    package = Path(__file__).resolve().parents[1]
    found = []
    for path in sorted((folder or evidence_folder()).glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        claim_file = package / "claims" / document["room"] / f"{document['key'].replace('-', '_')}.py"
        now = (
            source_fingerprint(claim_files(claim_file, document["key"], document["baselines"]))
            if claim_file.exists()
            else ""
        )
        found.append(Evidence(**document, stale=now != document["fingerprint"]))
    return sorted(found, key=lambda evidence: evidence.number)
