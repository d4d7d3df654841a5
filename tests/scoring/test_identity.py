"""Who did it, and where they belong."""

import pytest

from scoring import identity
from scoring.models import Account, GroupLink, Identity, ProductUser
from tests.scoring.oracle import Key
from tests.scoring.test_scores import INVITES, publish, rescore_all, stored
from tests.scoring.world import (
    NOW,
    TODAY,
    ago,
    alias,
    call,
    counts,
    forget_touches,
    home,
    identify,
    join,
    links,
    people,
    send,
    touched,
)

pytestmark = pytest.mark.django_db


class TestPeople:
    def test_are_one_for_all_ids_of_a_call(self) -> None:
        send(identify("ann", device="phone", aliases=("old-ann",)))
        assert people() == {frozenset({"ann", "phone", "old-ann"})}

    def test_are_joined_by_a_chain_of_calls(self) -> None:
        send(call(device="phone"), call(device="laptop"), call(by="ann"))
        assert len(people()) == 3
        send(identify("ann", device="phone"), identify("ann", device="laptop"))
        assert people() == {frozenset({"ann", "phone", "laptop"})}

    def test_keep_the_lowest_user_and_leave_a_pointer(self) -> None:
        send(call(device="phone"))
        send(call(by="ann"))
        first, second = ProductUser.objects.order_by("id")
        send(identify("ann", device="phone"))
        second.refresh_from_db()
        assert second.merged_into == first
        assert set(Identity.objects.values_list("user", flat=True)) == {first.pk}

    def test_are_joined_across_users_that_the_batch_does_not_name(self) -> None:
        send(alias("a", "b"), alias("c", "d"))
        send(alias("x", "a"), alias("x", "d"))
        assert people() == {frozenset("abcdx")}

    def test_are_known_once_an_id_was_used_as_user_id(self) -> None:
        send(call(device="ann"))
        assert not ProductUser.objects.get().known
        send(call(by="ann"))
        assert ProductUser.objects.get().known

    def test_share_one_namespace_of_ids(self) -> None:
        send(call(device="ann"), call(by="ann"))
        assert people() == {frozenset({"ann"})}

    def test_are_left_alone_by_calls_that_say_nothing_new(self) -> None:
        send(identify("ann", device="phone", email="ann@acme.example"), join("ann", "acme"))
        before = links()
        forget_touches()
        send(identify("ann", device="phone", email="ann@acme.example"), join("ann", "acme"))
        assert links() == before
        assert touched() == {"acme": {"trait"}}


class TestHome:
    def test_of_a_visitor_is_an_account_of_its_smallest_id(self) -> None:
        send(call(device="b"), alias("", "b", "a"))
        assert home("b") == Key("visitor", "a")

    def test_of_a_user_is_an_account_of_its_smallest_user_id(self) -> None:
        send(call(by="ben", device="0"), alias("ben", "ann"))
        assert home("ben") == Key("user", "ben")
        send(call(by="ann"))
        assert home("ben") == Key("user", "ann")

    def test_is_the_domain_of_the_earliest_company_address(self) -> None:
        send(identify("ann", email="Ann@Acme.example", at=ago(1)))
        send(identify("ann", email="ann@globex.example", at=ago(2)))
        assert home("ann") == Key("domain", "globex.example")

    def test_is_never_a_free_mail_domain(self) -> None:
        send(identify("ann", email="ann@gmail.com", at=ago(3)))
        assert home("ann") == Key("user", "ann")
        send(identify("ann", email="ann@acme.example"))
        assert home("ann") == Key("domain", "acme.example")

    @pytest.mark.parametrize("days", [1, 3])
    def test_is_the_domain_of_an_address_that_is_to_be_set_only_once(self, days: int) -> None:
        send(identify("ann", user_traits_once={"email": "ann@acme.example"}, at=ago(days)))
        assert home("ann") == Key("domain", "acme.example")
        send(identify("ann", email="ann@globex.example", at=ago(2)))
        assert home("ann") == Key("domain", "acme.example" if days == 3 else "globex.example")

    @pytest.mark.parametrize("email", ["", "ann", "ann@", "@acme.example", "ann@acme", "a b@acme.example", 7, None])
    def test_is_not_taken_from_what_is_no_address(self, email: object) -> None:
        send(identify("ann", user_traits={"email": email}))
        assert home("ann") == Key("user", "ann")

    def test_is_the_earliest_group_before_any_domain(self) -> None:
        send(identify("ann", email="ann@acme.example", at=ago(9)), join("ann", "globex", at=ago(1)))
        assert home("ann") == Key("group", "globex")
        send(join("ann", "initech", at=ago(2)))
        assert home("ann") == Key("group", "initech")

    def test_breaks_ties_of_time_by_message_id(self) -> None:
        send(join("ann", "acme", message_id="b"), join("ann", "globex", message_id="Z"))
        assert home("ann") == Key("group", "globex")

    def test_follows_an_earlier_membership_of_another_id(self) -> None:
        send(join("ann", "acme", at=ago(1)), call(device="phone"), call(device="phone", into="globex"))
        send(call("$group", device="phone", into="globex", joins=True, at=ago(2)))
        send(identify("ann", device="phone"))
        assert home("ann") == Key("group", "globex")

    def test_is_not_changed_by_naming_an_account_without_joining_it(self) -> None:
        send(call(by="ann", into="acme"))
        assert home("ann") == Key("user", "ann")

    def test_keeps_only_the_earliest_link(self) -> None:
        for days in (2, 5, 1):
            send(join("ann", "acme", at=ago(days)))
        assert [link.at for link in GroupLink.objects.all()] == [ago(5)]

    def test_leaves_the_former_home_behind_empty(self) -> None:
        send(call(device="phone"))
        assert counts() == {"phone": 1}
        send(identify("ann", device="phone"), join("ann", "acme"))
        assert counts() == {"acme": 1}
        assert Account.objects.filter(kind="visitor", external_id="phone").exists()


class TestFollowing:
    def test_moves_what_was_inherited_and_leaves_what_named_its_account(self) -> None:
        send(call(device="phone"), call(device="phone", into="globex"))
        send(join("ann", "acme", device="phone"))
        assert counts() == {"acme": 1, "globex": 1}

    def test_touches_every_account_that_now_counts_differently(self) -> None:
        send(call(by="ann"), call(by="ann", into="globex"), call(by="ben", into="initech"))
        forget_touches()
        send(join("ann", "acme"))
        assert {name for name, causes in touched().items() if "identity" in causes} == {"ann", "acme", "globex"}

    def test_never_touches_a_visitor(self) -> None:
        send(call(device="phone"), alias("", "phone", "laptop"))
        assert touched() == {}


class TestPlausibleEmail:
    def test_is_taken_in_lower_case(self) -> None:
        assert identity.plausible_email("Ann@ACME.Example") == "ann@acme.example"

    def test_is_refused_where_the_database_could_not_hold_it(self) -> None:
        assert identity.plausible_email("a" * 320 + "@acme.example") is None
        assert identity.plausible_email("a@" + "b" * 256 + ".example") is None


BROKEN = ["null", "Undefined", " none ", "NaN", "anonymous", "guest", "0", "-1", "TRUE", "[object Object]", '"null"']
BROKEN += ["00000000-0000-0000-0000-000000000000", "0000", "   ", "distinct_id"]


class TestBrokenId:
    @pytest.mark.parametrize("value", BROKEN)
    def test_is_known_for_one(self, value: str) -> None:
        assert identity.is_broken(value)

    @pytest.mark.parametrize("value", ["ann", "10", "0a", "nullify", "00000000-0000-0000-0000-000000000001", "Ø"])
    def test_is_nothing_else(self, value: str) -> None:
        assert not identity.is_broken(value)

    def test_is_left_out_and_the_call_goes_on_with_its_other_ids(self) -> None:
        recorded = send(call(by="null", device="phone"), call(by="undefined", device="tv"), identify("ann", device="0"))
        assert recorded.accepted == recorded.broken_ids == 3
        assert people() == {frozenset({"phone"}), frozenset({"tv"}), frozenset({"ann"})}

    def test_of_an_account_leaves_the_person(self) -> None:
        send(join("ann", "undefined"))
        assert home("ann") == Key("user", "ann")
        assert not Account.objects.filter(kind="group").exists()

    def test_refuses_a_call_that_is_left_with_nobody(self) -> None:
        recorded = send(call(by="null", message_id="1"), call(by="ann"), call(into="None"))
        assert recorded.statuses == ["broken_id", "accepted", "broken_id"]
        assert (recorded.accepted, recorded.duplicate, recorded.refused) == (1, 0, 2)
        assert send(call(by="ann", message_id="1")).statuses == ["accepted"]


class TestOwnAccount:
    """Of a user whose calls all name the company's account."""

    def scored(self) -> set[str]:
        rescore_all(as_of=TODAY, at=NOW)
        return {key.external_id for key in stored()}

    def test_is_not_scored(self) -> None:
        publish(INVITES)
        send(call(by="ann", into="acme"), identify("ben"))
        assert self.scored() == {"acme", "ben"}

    def test_loses_its_score_with_the_first_call_that_names_another(self) -> None:
        publish(INVITES)
        send(identify("ann"))
        assert self.scored() == {"ann"}
        send(call(by="ann", into="acme"))
        assert self.scored() == {"acme"}
        send(call(by="ann"))
        assert self.scored() == {"acme", "ann"}

    def test_loses_its_score_when_somebody_turns_out_to_be_the_one_who_named_another(self) -> None:
        publish(INVITES)
        send(identify("ann"), call(device="phone", into="acme"))
        assert self.scored() == {"acme", "ann"}
        send(identify("ann", device="phone"))
        assert self.scored() == {"acme"}
