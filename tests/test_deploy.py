"""What the deploy files promise to one another."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
SHARED = "/srv/data"  # the DATA_DIR of the image


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


class TestTheMirrorsDirectory:
    @pytest.mark.parametrize("service", ["web", "worker", "jobs", "beat"])
    def test_is_the_same_one_for_every_process(self, service: str) -> None:
        mounted = dict(volume.split(":") for volume in compose()["services"][service]["volumes"])
        below = settings.MIRROR.relative_to(settings.DATA_DIR)
        assert mounted["mirror"] == f"{SHARED}/{below}"
        assert "mirror" in compose()["volumes"]

    def test_is_where_the_image_keeps_its_data(self) -> None:
        assert f"DATA_DIR={SHARED}" in (DEPLOY / "Dockerfile").read_text()
