"""From every page to every other one."""

import re
from collections.abc import Callable

from starlette.testclient import TestClient

PAGES = ["/", "/lines", "/ops", "/bundles", "/docs"]


def test_the_same_links_stand_at_the_foot_of_every_page(start: Callable[..., TestClient]) -> None:
    client = start()

    for page in PAGES:
        reply = client.get(page)
        assert reply.status_code == 200
        (nav,) = re.findall(r'<nav class="site".*?</nav>', reply.text)
        assert re.findall(r'href="([^"]+)"', nav) == PAGES, page
        assert "{%" not in reply.text
