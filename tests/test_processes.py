"""Who is dead is known for certain or not at all."""

import os
import subprocess
import sys

from anybatch.processes import dead_among, this_process

TELL = "from anybatch.processes import this_process; print(this_process(), flush=True)"


def test_this_process_is_alive() -> None:
    assert this_process() == this_process()
    assert dead_among([this_process()]) == frozenset()


def test_a_process_is_alive_while_it_runs_and_dead_when_it_is_killed() -> None:
    command = [sys.executable, "-c", f"{TELL}; input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        owner = child.stdout.readline().strip()
        alive = dead_among([owner])
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        not_yet_buried = dead_among([owner])
        child.wait()

        assert alive == frozenset()
        assert not_yet_buried == {owner}
        assert dead_among([owner, this_process()]) == {owner}


def test_a_process_elsewhere_may_well_be_alive() -> None:
    where, pid, started = this_process().split("/")
    dead_here = [f"{where}/{pid}/{int(started) + 1}"]

    assert dead_among(dead_here) == set(dead_here)
    assert dead_among([f"elsewhere:{where}/{pid}/{int(started) + 1}"]) == frozenset()


def test_a_pid_that_another_process_has_now_does_not_hide_a_death() -> None:
    where, pid, started = this_process().split("/")
    predecessor = f"{where}/{pid}/{int(started) - 1}"

    assert dead_among([predecessor]) == {predecessor}


def test_a_name_that_is_none_of_ours_is_left_alone() -> None:
    assert dead_among(["", "me", "a/b/c", f"{this_process().split('/')[0]}/x/1"]) == frozenset()
