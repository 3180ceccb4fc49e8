"""Die before and after every effect of a run, start again, and find each result once."""

import gc
from pathlib import Path

import pytest

from anybatch.testing import Crash, CrashAt, FakeEndpoint, Watch

from .harness import Model, World, spec
from .promises import broken_promises


def test_x(tmp_path):
    import time
    t=time.time()
    watch = Watch()
    w = World(root=tmp_path / "0", spec=spec(), model=Model())
    w.live(watch)
    print(len(watch.crossings), time.time()-t)
    print(broken_promises(w))
    for c in watch.crossings: print(c)
    for k in range(1, 1000):
        t=time.time()
        w = World(root=tmp_path / f"{k}", spec=spec(), model=Model())
        probe = CrashAt(k)
        try:
            w.live(probe)
        except Crash as e:
            pass
        if not probe.crashed: break
        t2=time.time()
        try:
            w.live()
        except Exception as e:
            print(k, probe.at, repr(e)); continue
        print(k, probe.at, broken_promises(w), w.executions, t2-t, time.time()-t2)
