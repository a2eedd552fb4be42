"""Commands that run for a tenant, as real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from partywall.agents import Agents
from partywall.agents.processes import AGENT_ID, LinuxProcesses, PsProcesses, processes
from partywall.audit import AuditLog
from partywall.clock import SystemClock
from partywall.errors import InvalidArgument, LedgerError, QuotaExceeded, TenantSuspended
from partywall.ledger import AgentProcess, SqliteLedger
from partywall.model import Status
from partywall.quotas import Places

ACME, BETA = "ten_acme", "ten_beta"
HERE = processes()


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def until(promise):
    """Wait until something holds, for ten seconds at the most."""
    bounded = threading.Event()
    for _ in range(1000):
        if result := promise():
            return result
        bounded.wait(0.01)
    raise AssertionError("it never came true")


def alive(pid):
    return HERE.start_mark(pid) is not None


def pid_in(path: Path):
    return until(lambda: path.exists() and path.read_text().strip() and int(path.read_text()))


DEAF_WITH_CHILD = """
import os, pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import pathlib, os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); " \\
       "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", code, sys.argv[1]], start_new_session=bool(int(sys.argv[2])))
child.wait()
"""


def test_a_command_runs_and_tells_its_exit_code(agents):
    agent = agents.spawn(ACME, python("print('hello'); import sys; print('oh', file=sys.stderr)"))
    assert agent.result(10) == 0
    assert (agent.state, agent.kind) == ("finished", "command")
    assert agent.output() == (b"hello\n", b"oh\n")
    assert (agents.count(ACME), agents.list()) == (0, [])


def test_another_exit_code_is_a_failure_and_a_signal_is_negative(agents):
    failed = agents.spawn(ACME, python("raise SystemExit(3)"))
    killed = agents.spawn(ACME, python("import os; os.kill(os.getpid(), 9)"))
    assert (failed.result(10), failed.state) == (3, "failed")
    assert (killed.result(10), killed.state) == (-9, "failed")


def test_only_the_last_64_kb_of_each_stream_are_kept(agents):
    agent = agents.spawn(ACME, python("import os\nfor n in range(64): os.write(1, b'%d' % (n % 10) * 65536)"))
    assert agent.result(10) == 0
    assert agent.output().stdout == b"3" * 65536


def test_no_shell_takes_a_command_apart(agents):
    with pytest.raises(InvalidArgument):
        agents.spawn(ACME, "echo a")
    agent = agents.spawn(ACME, ["echo", "$HOME; id"])
    assert agent.result(10) == 0
    assert agent.output().stdout == b"$HOME; id\n"


def test_a_command_gets_a_minimal_environment_and_nothing_secret(world, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    monkeypatch.setenv("LC_TIME", "C")
    agent = world.agents.spawn(ACME, ["env"], env={"MODEL": "m", "PARTYWALL_TENANT_ID": BETA})
    assert agent.result(10) == 0
    env = dict(line.split("=", 1) for line in agent.output().stdout.decode().splitlines())
    assert (env["MODEL"], env["LC_TIME"]) == ("m", "C")
    assert (env["PARTYWALL_TENANT_ID"], env["PARTYWALL_AGENT_ID"]) == (ACME, agent.id)
    known = {"PATH", "HOME", "LANG", "TMPDIR", "TZ", "MODEL", "PARTYWALL_TENANT_ID", "PARTYWALL_AGENT_ID"}
    assert {name for name in env if not name.startswith("LC_")} <= known


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "x\0"}, {"A\0": "x"}])
def test_an_environment_that_cannot_be_is_refused(agents, env):
    with pytest.raises(InvalidArgument):
        agents.spawn(ACME, ["true"], env=env)


def test_stdin_is_empty_and_the_folder_is_the_named_one(agents, tmp_path):
    agent = agents.spawn(ACME, python("import os, sys; print(repr(sys.stdin.read()), os.getcwd())"), cwd=tmp_path)
    assert agent.result(10) == 0
    assert agent.output().stdout.decode() == f"'' {tmp_path}\n"


@pytest.mark.parametrize("command", [["/no/such/program"], ["/etc/passwd"], ["/etc/passwd/x"]])
def test_a_command_that_cannot_be_run_is_refused_and_leaves_nothing(world, command):
    with pytest.raises(InvalidArgument):
        world.agents.spawn(ACME, command)
    assert (world.agents.count(ACME), world.agents.list()) == (0, [])
    assert world.ledger.read(lambda tx: tx.agents()) == []


def test_a_running_command_is_in_the_ledger_and_an_ended_one_is_not(world):
    agent = world.agents.spawn(ACME, python("import signal; signal.pause()"))
    (process,) = world.ledger.read(lambda tx: tx.agents())
    assert (process.agent_id, process.tenant_id) == (agent.id, ACME)
    assert process.started == HERE.start_mark(process.pid)
    agent.stop()
    assert world.ledger.read(lambda tx: tx.agents()) == []


def test_l5_a_ledger_that_is_down_starts_nothing(world):
    world.ledger.close()
    with pytest.raises(LedgerError):
        world.agents.spawn(ACME, ["true"])
    assert (world.agents.count(ACME), world.agents.list()) == (0, [])


def test_a_ledger_that_fails_after_the_start_kills_what_was_started(world, monkeypatch, tmp_path):
    write, marker = world.ledger.write, tmp_path / "pid"
    code = "import os, pathlib, signal, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); signal.pause()"
    seen = []

    def failing(work):
        if world.ledger.read(lambda tx: tx.agents()) and not seen:
            seen.append(pid_in(marker))
            raise LedgerError("down")
        return write(work)

    monkeypatch.setattr(world.ledger, "write", failing)
    with pytest.raises(LedgerError):
        world.agents.spawn(ACME, python(code, marker))
    until(lambda: not alive(seen[0]))
    assert (world.agents.count(ACME), world.ledger.read(lambda tx: tx.agents())) == (0, [])


def test_commands_count_against_the_quota(world):
    world.edit(ACME, agents=1)
    agent = world.agents.spawn(ACME, python("import signal; signal.pause()"))
    with pytest.raises(QuotaExceeded):
        world.agents.spawn(ACME, ["true"])
    agent.stop()
    assert world.agents.spawn(ACME, ["true"]).result(10) == 0


def test_a_command_that_heeds_sigterm_may_clean_up(agents, tmp_path):
    code = """
import pathlib, signal, sys
def leave(*_):
    pathlib.Path(sys.argv[1]).write_text("clean"); raise SystemExit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
while True: signal.pause()
"""
    agent = agents.spawn(ACME, python(code, tmp_path / "mark"))
    until(lambda: agent.output().stdout)
    assert agent.stop(grace=20).stopped == (agent.id,)
    assert (tmp_path / "mark").read_text() == "clean"
    with pytest.raises(CancelledError):
        agent.result(5)


# Where no environments are shown, who escaped into a session of its own cannot be found.
@pytest.mark.parametrize("escaped", [0, 1] if isinstance(HERE, LinuxProcesses) else [0])
def test_g14_a_command_deaf_to_sigterm_and_its_child_are_both_killed(world, tmp_path, escaped):
    agent = world.agents.spawn(ACME, python(DEAF_WITH_CHILD, tmp_path / "child", escaped))
    child = pid_in(tmp_path / "child")
    (process,) = world.ledger.read(lambda tx: tx.agents())
    assert alive(process.pid)
    assert alive(child)
    world.put(ACME, Status.SUSPENDED)
    report = world.agents.stop_tenant(ACME, grace=1)
    assert (report.stopped, report.not_stopped) == ((agent.id,), ())
    assert not alive(process.pid)
    assert not alive(child)
    with pytest.raises(TenantSuspended):
        agent.result(5)


def test_what_a_command_leaves_behind_is_killed_when_it_ends(agents, tmp_path):
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]])"
    child = "import os, pathlib, signal, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); signal.pause()"
    wait = "; import pathlib, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
    agent = agents.spawn(ACME, python(code + wait, tmp_path / "child", child))
    assert agent.result(10) == 0
    assert not alive(pid_in(tmp_path / "child"))


def test_a_stopped_process_group_is_killed_all_the_same(agents):
    agent = agents.spawn(ACME, python("import os, signal; print(1, flush=True); os.kill(os.getpid(), signal.SIGSTOP)"))
    until(lambda: agent.output().stdout)
    assert agent.stop(grace=0.4).stopped == (agent.id,)


def test_without_grace_a_command_is_killed_at_once(agents):
    agent = agents.spawn(ACME, ["sleep", "60"])
    assert agent.stop(grace=0).stopped == (agent.id,)


def test_the_awaitable_twin_starts_commands(agents):
    async def main():
        return await (await agents.spawn_async(ACME, ["true"])).wait()

    assert asyncio.run(main()) == 0


def test_closing_leaves_no_process_behind(world):
    world.agents.spawn(ACME, python("import signal; signal.pause()"))
    (process,) = world.ledger.read(lambda tx: tx.agents())
    world.agents.close()
    assert not alive(process.pid)


class Orphan:
    """A process group as an engine leaves it that is killed: nobody waits for it, its child ignores SIGTERM."""

    def __init__(self, tmp_path, agent_id, *, marked=True):
        env = {"PATH": os.environ["PATH"], **({AGENT_ID: agent_id} if marked else {})}
        command = python(DEAF_WITH_CHILD, tmp_path / f"{agent_id}.child", 0)
        self.process = subprocess.Popen(command, env=env, start_new_session=True)
        self.pid, self.child = self.process.pid, pid_in(tmp_path / f"{agent_id}.child")

    def end(self):
        for pid in (self.pid, self.child):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def orphan(tmp_path):
    made = []

    def make(agent_id, **options):
        made.append(Orphan(tmp_path, agent_id, **options))
        return made[-1]

    yield make
    for each in made:
        each.end()


def remember(world, agent_id, pid, started):
    world.ledger.write(lambda tx: tx.put_agent(AgentProcess(agent_id, ACME, pid, started)))


def test_reaping_kills_what_outlived_the_engine_and_records_it(world, orphan):
    left = orphan("agt_left", marked=False)
    remember(world, "agt_left", left.pid, HERE.start_mark(left.pid))
    assert world.agents.reap() == ("agt_left",)
    assert not alive(left.pid)
    assert not alive(left.child)
    (record,) = world.recorded("agent.reaped")
    assert record.details == {"agent": "agt_left", "pid": left.pid, "gone": True}
    assert world.ledger.read(lambda tx: tx.agents()) == []
    assert world.agents.reap() == ()


def test_reaping_leaves_a_pid_alone_that_was_given_out_again(world, orphan):
    innocent = orphan("agt_other", marked=False)
    remember(world, "agt_gone", innocent.pid, "another start")
    assert world.agents.reap() == ()
    assert alive(innocent.pid)
    assert world.ledger.read(lambda tx: tx.agents()) == []
    assert world.recorded("agent.reaped") == []


def test_reaping_finds_what_was_started_but_not_yet_recorded(world, orphan):
    left = orphan("agt_early")
    remember(world, "agt_early", 0, "")
    assert world.agents.reap() == ("agt_early",)
    assert not alive(left.pid)
    assert not alive(left.child)


def test_after_kill_9_the_next_engine_stops_the_commands(tmp_path, world):
    """A real engine process is killed; the ledger that it wrote is read by another one."""
    code = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("rooms", sys.argv[1])
rooms = importlib.util.module_from_spec(spec); sys.modules["rooms"] = rooms; spec.loader.exec_module(rooms)
folder = pathlib.Path(sys.argv[2])
world = rooms.World(folder)
world.agents.spawn("ten_acme", [sys.executable, "-c", sys.argv[3], str(folder / "child"), "0"])
print("spawned", flush=True)
input()
"""
    conftest = Path(__file__).with_name("conftest.py")
    killed = tmp_path / "killed"
    killed.mkdir()
    command = python(code, conftest, killed, DEAF_WITH_CHILD)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdout.readline() == b"spawned\n"
        child = pid_in(killed / "child")
        engine.kill()
    ledger = SqliteLedger(killed / "ledger.sqlite")
    (process,) = ledger.read(lambda tx: tx.agents())
    assert alive(process.pid)
    audit = AuditLog(ledger, SystemClock())
    agents = Agents(world.directory, ledger, audit, world.limiter, Places(world.directory), SystemClock())
    assert agents.reap() == (process.agent_id,)
    assert not alive(process.pid)
    assert not alive(child)
    assert [record.action for record in audit.records(ACME)] == ["agent.reaped"]
    agents.close()
    ledger.close()


def test_ps_knows_the_same_groups_as_proc(orphan):
    left, asked = orphan("agt_left"), PsProcesses()
    assert asked.families({"agt_left": left.pid}) == {"agt_left": {left.pid, left.child}}
    assert asked.start_mark(left.pid)
    assert asked.start_mark(left.pid) == asked.start_mark(left.pid)
    left.end()
    assert asked.start_mark(left.pid) is None


def test_no_leader_belongs_to_no_group(orphan):
    for asked in (HERE, PsProcesses()):
        assert asked.families({"agt_none": None, "agt_zero": 0}) == {"agt_none": set(), "agt_zero": set()}
