"""Events that a source calls conversions: each is an outcome of its account, once, and follows its people."""

from decimal import Decimal

import pytest

from scoring.models import Outcome, Source
from tests.scoring.world import ago, call, identify, join, send, source, touched

pytestmark = pytest.mark.django_db

PAID = [{"event": "Plan Bought", "kind": "paid", "amount": "price"}]


@pytest.fixture(autouse=True)
def billing() -> Source:
    found = source()
    found.conversion_events = PAID
    found.save()
    return found


def outcomes() -> list[tuple[str, str, Decimal | None]]:
    return sorted(Outcome.objects.values_list("account__external_id", "kind", "amount"))


class TestConversion:
    def test_is_an_outcome_of_the_account_once(self) -> None:
        event = call("Plan Bought", into="acme", properties={"price": "49.005"}, message_id="1", at=ago(2))
        send(event, call("Other", into="acme"))
        send(event)
        assert outcomes() == [("acme", "paid", Decimal("49.00"))]
        assert Outcome.objects.get().at == ago(2)
        assert "event" in touched()["acme"]

    @pytest.mark.parametrize("price", [None, "much", True, float("1e300"), [], "NaN"])
    def test_has_no_amount_that_is_none(self, price: object) -> None:
        send(call("Plan Bought", into="acme", properties={"price": price}))
        assert outcomes() == [("acme", "paid", None)]

    def test_is_only_what_its_own_source_calls_so(self) -> None:
        send(call("Plan Bought", into="acme"), slug="app2")
        assert outcomes() == []

    def test_follows_the_person_home(self) -> None:
        send(call("Plan Bought", device="phone"))
        assert outcomes() == [("phone", "paid", None)]
        send(identify("ann", device="phone"))
        assert outcomes() == [("ann", "paid", None)]
        send(join("ann", "acme"))
        assert outcomes() == [("acme", "paid", None)]

    def test_stays_with_the_account_that_it_names(self) -> None:
        send(call("Plan Bought", by="ann", into="globex"), join("ann", "acme"))
        assert outcomes() == [("globex", "paid", None)]
