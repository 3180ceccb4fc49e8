"""Which tests share a worker, where several workers run them: `make test`."""

from typing import Any

import pytest

TOGETHER = {
    # The packaged model takes as many cores as there are.
    "tests/test_banking77.py": "model",
    "tests/engine/test_crash_of_the_model.py": "model",
    "tests/executors/test_embedded.py": "model",
    # One visit of each judge is enough.
    "tests/judges/test_openai.py": "openai",
    "tests/judges/test_anthropic.py": "anthropic",
    "tests/judges/test_gemini.py": "gemini",
    "tests/judges/test_vertex.py": "vertex",
    "tests/server/test_judges_openai.py": "openai, served",
    "tests/server/test_judges_anthropic.py": "anthropic, served",
    "tests/server/test_judges_gemini.py": "gemini, served",
}
"""By file; what is in no other file goes to whichever worker is free."""


def pytest_configure(config: pytest.Config) -> None:
    if config.pluginmanager.has_plugin("dsession"):
        config.pluginmanager.register(_Scheduling())


class _Scheduling:
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from xdist.scheduler import LoadScopeScheduling

        class Scheduling(LoadScopeScheduling):
            def _split_scope(self, nodeid: str) -> str:
                return TOGETHER.get(nodeid.partition("::")[0], nodeid)

        return Scheduling(config, log)
