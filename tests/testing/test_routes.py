"""Which call is which operation is told by its method and its address."""

import pytest

from anybatch.testing.service.http1 import Head
from anybatch.testing.service.routes import ID, Route, Routes

ROUTES = Routes(
    ("GET", "/files", "files"),
    ("GET", f"/files/{ID}", "file"),
    ("DELETE", f"/files/{ID}", "delete"),
    ("POST", f"/files/{ID}:copy", "copy"),
    ("GET", "/files/mine", "never"),
)


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/files", Route("files")),
        ("GET", "/files/a", Route("file", "a")),
        ("DELETE", "/files/a", Route("delete", "a")),
        ("POST", "/files/a:copy", Route("copy", "a")),
        ("GET", "/files/mine", Route("file", "mine")),
        ("PUT", "/files", Route("")),
        ("GET", "/files/a/b", Route("", is_address=False)),
        ("GET", "/", Route("", is_address=False)),
    ],
)
def test_a_call_is_the_first_that_fits(method: str, path: str, route: Route) -> None:
    assert ROUTES.find(Head(method, path, {}, True, {})) == route


def test_all_have_names() -> None:
    assert ROUTES.names == {"files", "file", "delete", "copy", "never"}
