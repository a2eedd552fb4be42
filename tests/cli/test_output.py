from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partywall import PartywallError, __version__
from partywall.cli.failures import failure_from
from partywall.cli.output import harmless
from partywall.folder import DataFolder

Run = Callable[..., Any]
HOSTILE = r'"\e[31mRed\a[bold]\u202E\nnext"'


@pytest.fixture
def long_names(folder: DataFolder) -> str:
    path = folder.tenancy / "tenants" / "acme.yaml"
    text = path.read_text().replace('name: "Acme"', f'name: "{"Long " * 30}"')
    tenant_id = "ten_" + "z" * 32
    lines = [f"id: {tenant_id}" if line.startswith("id:") else line for line in text.splitlines()]
    path.write_text("\n".join(lines))
    return tenant_id


def test_a_pipe_gets_whole_lines_and_no_colours_however_narrow_the_terminal_is_said_to_be(
    shell: Run, long_names: str
) -> None:
    told = shell("tenants", "list", COLUMNS="20", FORCE_COLOR="1", CLICOLOR_FORCE="1")
    (line,) = [line for line in told.out.splitlines() if long_names in line]
    assert ("Long " * 30).strip() in line
    assert "active" in line
    assert "\x1b" not in told.out
    assert told.out.isascii()
    assert all(line == line.rstrip() for line in told.out.splitlines())


def test_a_narrow_terminal_never_cuts_an_id(terminal: Callable[..., tuple[int, str]], long_names: str) -> None:
    for columns in (120, 60, 40):
        _, told = terminal("tenants", "list", columns=columns)
        assert long_names in told
        assert "…" not in told
    assert "\x1b[32m" in told


def test_what_files_say_cannot_move_or_colour_the_terminal(here: Run, folder: DataFolder) -> None:
    path = folder.tenancy / "tenants" / "acme.yaml"
    path.write_text(path.read_text().replace('name: "Acme"', f"name: {HOSTILE}"))
    for command in (["tenants", "list"], ["tenants", "show", "acme"]):
        told = here(*command).out
        assert r"\x1b[31mRed\x07[bold]\u202e\nnext" in told
        assert "\x1b" not in told
    assert here("tenants", "show", "acme", "--json").document["name"] == "\x1b[31mRed\a[bold]\u202e\nnext"


def test_an_error_text_is_as_harmless_as_the_rest(here: Run, folder: DataFolder) -> None:
    refused = here("tenants", "show", "\x1b[31m")
    assert refused.code == 4
    assert "\x1b" not in refused.err
    assert harmless("a\tb\x9b") == r"a\tb\x9b"


def test_an_error_is_one_line_for_people_and_one_document_for_programs(here: Run, folder: DataFolder) -> None:
    refused = here("tenants", "show", "nobody")
    assert (refused.code, refused.out, refused.err) == (4, "", "error: no tenant has the id or slug 'nobody'\n")
    refused = here("tenants", "show", "nobody", "--json")
    assert (refused.code, refused.out) == (4, "")
    assert refused.error == {"code": "tenant-not-found", "message": "no tenant has the id or slug 'nobody'"}


def test_a_tenant_whose_file_is_not_in_force_is_not_found_and_the_error_says_why(here: Run, folder: DataFolder) -> None:
    file = folder.root / "system" / "tenancy" / "tenants" / "late.yaml"
    file.write_text("name: Late\nslug: late\ntype: free\nstatus: active\nowner: {userId: u1, email: a@b.c, name: A}\n")
    refused = here("tenants", "show", "late")
    assert refused.code == 4
    assert "'late'; system/tenancy/tenants/late.yaml:1:1: the file has no id yet" in refused.err


def test_an_operator_is_told_why_the_ledger_failed(here: Run, folder: DataFolder) -> None:
    folder.ledger.parent.mkdir(exist_ok=True)
    folder.ledger.write_bytes(b"no database " * 1000)
    refused = here("usage", "list")
    assert (refused.code, refused.err) == (
        11,
        "error: the ledger failed; nothing was written (file is not a database)\n",
    )


@pytest.mark.parametrize(
    "arguments", [["tenants", "show"], ["nothing"], ["status", "--nothing"], ["tenants", "rename", "acme"]]
)
def test_a_mistyped_command_is_told_in_one_line(here: Run, folder: DataFolder, arguments: list[str]) -> None:
    refused = here(*arguments)
    assert (refused.code, refused.out) == (2, "")
    (line,) = refused.err.splitlines()
    assert line.startswith("error: ")
    assert "--help" in line
    assert here(*arguments, "--json").error["code"] == "usage"


def test_the_data_folder_is_named_before_the_command_after_it_or_by_the_environment(
    here: Run, folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    folder.root.rename(other)
    assert here("tenants", "list").code == 78
    assert here("--data", other, "tenants", "list").code == 0
    assert here("tenants", "list", "--data", other).code == 0
    monkeypatch.setenv("PARTYWALL_DATA", str(other))
    assert here("tenants", "list").code == 0
    assert here("--data", tmp_path, "tenants", "list").code == 78


def test_the_version_and_help_are_told(shell: Run) -> None:
    assert shell("--version").out == f"partywall {__version__}\n"
    assert "tenants" in shell("--help").out
    bare = shell()
    assert (bare.code, bare.out) == (2, "")
    assert "Commands:" in bare.err


def test_without_the_extra_the_command_says_what_to_install() -> None:
    for missing in ("click", "rich"):
        program = f"import sys; sys.modules['{missing}'] = None; from partywall.__main__ import main; main()"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: '{missing}' is not installed; run: pip install 'partywall[cli]'\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_is_no_error_to_speak_of(folder: DataFolder, unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    pipeline = f"{sys.executable} -m partywall tenants list | true"
    done = subprocess.run(pipeline, shell=True, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_name_that_the_terminal_cannot_show_is_spelled_out(shell: Run, folder: DataFolder) -> None:
    path = folder.tenancy / "tenants" / "acme.yaml"
    path.write_text(path.read_text().replace('name: "Acme"', 'name: "Zoë"'), encoding="utf-8")
    told = shell("tenants", "list", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (told.code, told.err) == (0, "")
    assert r"Zo\xeb" in told.out


def test_an_error_of_the_running_engine_keeps_its_exit_code() -> None:
    def every(base: type[PartywallError]) -> list[type[PartywallError]]:
        return [base, *(each for child in base.__subclasses__() for each in every(child))]

    for error in every(PartywallError):
        assert failure_from({"code": error.code, "message": "x"}).exit_code == error.exit_code
    assert failure_from({"code": "of a later release", "message": "x"}).exit_code == 1
