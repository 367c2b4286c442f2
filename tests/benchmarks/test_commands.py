# SPDX-License-Identifier: Apache-2.0
"""The commands that the pages name, and the records that are kept."""

import importlib
import json
import re
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.accuracy import many_parts
from benchmarks.common import command, grid
from benchmarks.common.records import RESULTS, find, read

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "benchmarks" / "README.md", *sorted(RESULTS.glob("*.md"))]
STUDIES = ("expert", "thresholds", "promise", "schedules", "drift")


def _module(name: str) -> ModuleType:
    folder = CHECKOUT / Path(*name.split("."))
    return importlib.import_module(f"{name}.__main__" if folder.is_dir() else name)


def _commands(page: Path) -> list[list[str]]:
    """Arguments of each ``python`` of a page as a shell gives them; ``FOLDER`` and the like stand for themselves."""
    text = page.read_text()
    blocks = re.findall(r"^```bash[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"`(python -m benchmarks\.\w[^`]*)`", text)
    shell = 'python() { printf "%s\\037" "$@"; echo; }\n' + "\n".join(blocks)
    # Nothing but the shell's own commands is found.
    bash, nothing = str(shutil.which("bash")), {"PATH": ""}
    printed = subprocess.run(
        [bash, "-c", shell], env=nothing, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    found = [line.split("\037")[:-1] for line in printed.splitlines()]
    return [arguments for arguments in found if arguments[:1] == ["-m"] and arguments[1].startswith("benchmarks")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_pages_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is run: what is asked for is only read."""
    asked: list[Namespace] = []
    monkeypatch.setattr(command, "run", lambda _parser, options, _build, _show: asked.append(options) or 0)
    commands = _commands(page)
    for _, name, *arguments in commands:
        module = _module(name)
        if name.endswith(("digits", "comparison")) or "picture" in arguments:
            assert callable(module.main)
            asked.append(Namespace())
        elif name == "benchmarks.accuracy":
            asked.append(module.build_parser().parse_args(arguments))
        elif name.endswith("agreement"):
            asked.append(module.parse(arguments))
        else:
            assert module.main(arguments) == 0
    assert asked or "python -m benchmarks" not in page.read_text()


@pytest.mark.parametrize("name", [*STUDIES, "update"])
def test_kept_records_give_the_table_of_their_page(name: str, capsys: pytest.CaptureFixture) -> None:
    # A page does not let figures break.
    page = (RESULTS / f"{name}.md").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert _module(f"benchmarks.accuracy.{name}").main(["table"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) > 3
    assert [row for row in rows if row not in page.splitlines()] == []


def test_kept_records_give_the_tables_of_their_suites(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    accuracy = _module("benchmarks.accuracy")
    suites = sorted((RESULTS / "accuracy").glob("*.parquet"))
    assert accuracy.main(["table"]) == 0
    printed = capsys.readouterr().out
    assert [line[3:] for line in printed.splitlines() if line.startswith("## ")] == [file.stem for file in suites]
    shutil.copy(RESULTS / "accuracy" / "ablation_backbone.parquet", tmp_path)
    assert accuracy.main(["table", "--records", str(tmp_path), "--pictures", str(tmp_path / "pictures")]) == 0
    assert capsys.readouterr().out.strip() in printed
    assert [file.name for file in tmp_path.rglob("*.png")] == ["solar_mono.png"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("accuracy", ["solar", "--steps", "400", "--seeds", "0", "1", "2"]),
        ("accuracy.expert", ["solar", "--only", "RD", "guided", "--seeds", "0", "1", "2"]),
        ("accuracy.expert", ["tiles", "--root", "ROOT"]),
        ("accuracy.thresholds", ["solar", "tiles", "--root", "ROOT"]),
        ("accuracy.drift", ["mono", "poly", "tiles", "--root", "ROOT"]),
        ("accuracy.schedules", ["mono", "poly", "tiles", "--root", "ROOT", "--only", "paper", "--steps", "400", "200"]),
    ],
)
def test_kept_records_are_not_run_again(
    name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ROOT" / "magnetic_tile").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    module = _module(f"benchmarks.{name}")
    seen: list[str] = []

    def run(_parser: object, options: Namespace, _build: object, _show: object) -> int:
        kept = read(command.records_file(options))
        cells = grid.select(module.grid(options), options.only)
        seen.extend(cell.name for cell in cells)
        assert [cell.name for cell in cells if find(kept, cell.settings).empty] == []
        return 0

    monkeypatch.setattr(command, "run", run)
    assert module.main(arguments) == 0
    assert seen


@pytest.mark.parametrize("name", STUDIES)
def test_missing_tiles_end_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        _module(f"benchmarks.accuracy.{name}").main(["tiles", "--records", str(tmp_path), "--root", str(tmp_path)])
    assert "tiles need --root" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_missing_checkpoint_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        _module("benchmarks.speed.exports").main([str(tmp_path / "model.ckpt"), "--records", str(tmp_path)])
    assert f"there is no checkpoint {tmp_path / 'model.ckpt'}." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_records_of_many_parts_name_the_statistics() -> None:
    of = {"parts": ["tiles", "horse"], "seeds": [0], "models": ["ReverseDistillation", "FusedReverseDistillation"]}
    more = {"steps": 2, "batch": 4, "image_size": 64, "images": 4, "root": None, "device": "cpu", "threads": 1}
    cells = many_parts.grid(Namespace(what=["all", "each"], model_args=[], **of, **more))
    named = {cell.name: cell.settings["arguments"] for cell in cells if cell.settings["arguments"]}
    assert named == {"all/FusedReverseDistillation(statistics=per_part)/tiles+horse/0": {"statistics": "per_part"}}
    cells = many_parts.grid(Namespace(what=["all"], model_args=['statistics="shared"'], **of, **more))
    assert [cell.settings["arguments"] for cell in cells] == [{"statistics": "shared"}] * 2
    rows = read(RESULTS / "many_parts.parquet")
    fused = rows[(rows["trained"] == "all") & (rows["model"] == "FusedReverseDistillation")]
    assert {json.loads(arguments)["statistics"] for arguments in fused["arguments"]} == {"per_part", "shared"}
