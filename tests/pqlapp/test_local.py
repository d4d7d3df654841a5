"""The servers of a first run, tried with real processes."""

import os


class TestSession:
    def test_the_tests_have_servers(self) -> None:
        assert os.environ["DATABASE_URL"]
        assert os.environ["REDIS_URL"]
