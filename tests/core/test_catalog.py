"""The catalogue is complete, consistent and light."""

import subprocess
import sys
import tomllib
from importlib import resources

import pytest

from pathline.core import catalog
from pathline.core.errors import MethodError


def test_all_164_systems_are_there_in_order_without_a_gap() -> None:
    assert [system.number for system in catalog.systems()] == list(range(1, 165))


def test_every_entry_lives_in_a_known_room() -> None:
    assert {e.room for e in catalog.methods()} <= set(catalog.ROOMS)


def test_rooms_partition_the_systems() -> None:
    assert sum(len(catalog.systems(room)) for room in catalog.ROOMS) == 164
    assert all(catalog.systems(room) for room in catalog.ROOMS)


def test_keys_are_unique_over_systems_and_baselines() -> None:
    raw = tomllib.loads(resources.files("pathline").joinpath("catalog.toml").read_text(encoding="utf-8"))
    keys = [table["key"] for table in raw["system"] + raw["baseline"]]
    assert len(keys) == len(set(keys)) == len(catalog.methods())


def test_module_and_class_come_together() -> None:
    assert all((e.module is None) == (e.cls is None) for e in catalog.methods())


def test_a_built_system_lives_in_the_file_that_bears_its_key() -> None:
    for system in catalog.methods(built=True):
        if not system.baseline:
            assert system.module == f"pathline.{system.room}.{system.key.replace('-', '_')}"


def test_baselines_are_built_and_have_no_number() -> None:
    assert catalog.baselines("forecast")
    assert all(b.built and b.number is None for b in catalog.baselines())


def test_sources_state_a_year_and_no_second_hand_remark() -> None:
    for system in catalog.systems():
        assert any(f", {year}" in system.source for year in range(2010, 2030)), system.key
        assert not any(word in system.source for word in ("verified", "official", "license", "repository", "arXiv"))


def test_arxiv_identifiers_are_well_formed_and_belong_to_one_system() -> None:
    known = [system.arxiv for system in catalog.systems() if system.arxiv]
    assert len(known) == len(set(known))
    for identifier in known:
        month, serial = identifier.split(".")
        assert len(month) == 4 and 1 <= int(month[2:]) <= 12
        assert len(serial) == 5 and serial.isdigit()


def test_built_and_unbuilt_add_up() -> None:
    assert len(catalog.methods(built=True)) + len(catalog.methods(built=False)) == len(catalog.methods())


def test_a_misspelt_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(MethodError, match="did you mean 'meanflow'"):
        catalog.entry("meanflw")


def test_a_key_like_nothing_else_gets_no_invented_suggestion() -> None:
    with pytest.raises(MethodError) as caught:
        catalog.entry("zzzzzzzz")
    assert "did you mean" not in str(caught.value)


def test_an_unknown_room_is_named_with_the_nearest() -> None:
    with pytest.raises(MethodError, match="did you mean 'forecast'"):
        catalog.systems("forcast")


def test_loading_a_system_that_is_not_built_names_those_that_are() -> None:
    unbuilt = catalog.Entry(None, "later", "Later", "", "", "forecast", None, None, None)
    with pytest.raises(MethodError, match=r"not built yet.*stlinear"):
        unbuilt.load()


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("package")
    (folder / "needs_a_package.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.syspath_prepend(folder)
    lacking = catalog.Entry(None, "x", "X", "", "", "simulate", "needs_a_package", "X", "molecules")
    with pytest.raises(MethodError, match=r"no_such_package_anywhere.*pip install 'pathline\[molecules\]'"):
        lacking.load()


def test_a_missing_module_of_our_own_stays_a_bug() -> None:
    broken = catalog.Entry(None, "x", "X", "", "", "simulate", "pathline.no_such_module", "X", "molecules")
    with pytest.raises(ModuleNotFoundError):
        broken.load()


def test_reading_the_catalogue_does_not_import_torch() -> None:
    program = (
        "import sys; from pathline.core import catalog; assert len(catalog.systems()) == 164; "
        "print(sorted({'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
