"""`python -m benchmarks [NAME …]`: print each table; exit 1 if a goal was missed."""

import sys

from . import batches, cache, cli, embedded, end_to_end, online, plan, plan_cost, serve

_ALL = {
    "plan": plan.compare,
    "plan_cost": plan_cost.compare,
    "end_to_end": end_to_end.compare,
    "online": online.compare,
    "batches": batches.compare,
    "serve": serve.compare,
    "cli": cli.compare,
    "embedded": embedded.compare,
    "cache": cache.compare,
}


def main() -> int:
    names = sys.argv[1:] or list(_ALL)
    met = [_ALL[name]() for name in names]
    return 0 if all(met) else 1


sys.exit(main())
