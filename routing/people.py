"""Who may log in and who works leads: log-ins, AEs, pools, memberships, and what is done with each tier."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.text import slugify

from routing import hours, leads
from routing.models import AE, Handling, HandlingPolicy, Membership, Pool
from routing.roles import ROLES, roles_of
from scoring.models import RuleSet

__all__ = [
    "PeopleError",
    "create_ae",
    "create_log_in",
    "create_pool",
    "deactivate_ae",
    "roles_of",
    "set_fairness",
    "set_handling",
    "set_membership",
    "set_pool",
]

MAX_WEIGHT = 1000
MAX_VALUE = 1_000_000_000
MAX_CREDIT_DAYS = 366


class PeopleError(ValueError):
    """Something about people or pools that cannot be; the text says what to do."""


def create_log_in(*, email: str, name: str, role: str, password: str | None, at: datetime) -> tuple[User, bool]:
    """Return the log-in of an e-mail address with the role, and whether it was new.

    The address in lower case is the user name. Admins may use the admin pages. An existing log-in is given the
    role, and keeps its name and password. Without a password nobody can log in with it yet.
    Raises PeopleError if the address is not one, or the role is not known.
    """
    address = email.strip().lower()
    try:
        validate_email(address)
    except ValidationError as error:
        raise PeopleError(f"{email!r} is not an e-mail address.") from error
    if role not in ROLES:
        raise PeopleError(f"{role!r} is not a role: choose one of {', '.join(ROLES)}.")
    with transaction.atomic():
        user = User.objects.filter(username=address).first()
        new = user is None
        if user is None:
            first, _, last = name.strip().partition(" ")
            user = User.objects.create_user(
                address, address, password, first_name=first, last_name=last, date_joined=at
            )
        user.groups.add(Group.objects.get_or_create(name=role)[0])
        if role == "Admin" and not (user.is_staff and user.is_superuser):
            user.is_staff = user.is_superuser = True
            user.save(update_fields=["is_staff", "is_superuser"])
    return user, new


def create_pool(
    *,
    name: str,
    at: datetime,
    rule_set: RuleSet | None = None,
    is_default: bool = False,
    stop_days: int | None = None,
    long_absence_days: int | None = None,
) -> Pool:
    """Return a new pool; the first pool ever becomes the default one, which takes what no other does.

    Raises PeopleError if the name is taken, or the rule set has a pool already.
    """
    is_first = not Pool.objects.exists()
    pool = Pool(slug=_free_slug(name), created_at=at)
    spared = {"stop_days": stop_days, "long_absence_days": long_absence_days}
    return set_pool(pool=pool, name=name, rule_set=rule_set, is_default=is_default or is_first, at=at, **spared)


def set_pool(
    *,
    pool: Pool,
    name: str,
    rule_set: RuleSet | None,
    is_default: bool,
    at: datetime,
    stop_days: int | None = None,
    long_absence_days: int | None = None,
) -> Pool:
    """Change a pool's name and which leads it takes; returns it. A new default one replaces the old.

    Who is to be away for at least `long_absence_days` gets no leads in the `stop_days` before; None: as it is. Open
    leads stay where they are; those that wait for an AE are routed by it after the commit. Raises PeopleError
    if the name is taken or empty, or the rule set has another pool.
    """
    name = name.strip()
    if not slugify(name):
        raise PeopleError("Give the pool a name with at least one letter or digit.")
    others = Pool.objects.exclude(pk=pool.pk)
    if others.filter(name__iexact=name).exists():
        raise PeopleError(f"There is a pool {name!r} already: choose another name.")
    taker = others.filter(rule_set=rule_set).first() if rule_set else None
    if taker:
        raise PeopleError(
            f"The leads of {rule_set} go to the pool {taker.name}: to divide them among pools, "
            "give its tiers pools of their own."
        )
    with transaction.atomic():
        if is_default:
            others.filter(is_default=True).update(is_default=False)
        pool.name, pool.rule_set, pool.is_default = name, rule_set, is_default
        pool.stop_days = pool.stop_days if stop_days is None else stop_days
        pool.long_absence_days = pool.long_absence_days if long_absence_days is None else long_absence_days
        pool.save()
        leads.drain_later(at=at, anew=True)
    return pool


def set_fairness(*, pool: Pool, tier_values: Mapping[str, int], credit_days: int) -> Pool:
    """Say what the turns of a pool deal out, and for how long they are given back; returns the pool.

    With values, by the tiers' names and in any unit, it is value: a lead costs its tier's, divided by the largest.
    Without it is leads, one like the other. Within `credit_days` of an assignment its turn is given back for what
    people claim; 0: never. What was dealt out stays as it was. Raises PeopleError if a number is impossible.
    """
    if any(not 1 <= value <= MAX_VALUE for value in tier_values.values()):
        raise PeopleError(
            f"A tier's value is a whole number from 1 to {MAX_VALUE:,}; leave out one that you do not know."
        )
    if not 0 <= credit_days <= MAX_CREDIT_DAYS:
        raise PeopleError(f"Turns are given back within 0 to {MAX_CREDIT_DAYS} days.")
    with transaction.atomic():
        held = leads.lock_pools([pool.pk])[pool.pk]  # the rotation is not to see half a change
        held.tier_values, held.credit_days = dict(tier_values), credit_days
        held.save(update_fields=["tier_values", "credit_days"])
    return held


def create_ae(
    *,
    email: str,
    name: str,
    pool: str,
    at: datetime,
    weight: int = 1,
    capacity: int | None = None,
    password: str | None = None,
    time_zone: str = "UTC",
) -> tuple[AE, bool]:
    """Return the AE with this e-mail address, in the named pool, and whether the AE was new.

    Makes what is missing of log-in, AE, pool and membership; who is there already keeps name and password, and
    takes the new weight and capacity. Leads that wait for the pool are given out after the commit.
    Raises PeopleError if something given is not possible.
    """
    try:
        hours.check_zone(time_zone)
    except hours.HoursError as error:
        raise PeopleError(f"{error}") from error
    with transaction.atomic():
        user, _ = create_log_in(email=email, name=name, role="AE", password=password, at=at)
        ae, new = AE.objects.get_or_create(user=user, defaults={"joined_at": at, "time_zone": time_zone})
        if not ae.is_active:
            ae.is_active = True
            ae.save(update_fields=["is_active"])
        into = Pool.objects.filter(name__iexact=pool.strip()).first() or create_pool(name=pool, at=at)
        mine = Membership.objects.filter(pool=into, ae=ae).values("daily_cap", "weekly_cap", "tier_caps")
        caps: Any = mine.first() or {}
        set_membership(pool=into, ae=ae, weight=weight, capacity=capacity, is_active=True, at=at, **caps)
    return ae, new


def set_membership(
    *,
    pool: Pool,
    ae: AE,
    weight: int,
    capacity: int | None,
    is_active: bool,
    at: datetime,
    daily_cap: int | None = None,
    weekly_cap: int | None = None,
    tier_caps: Mapping[str, int] | None = None,
) -> Membership:
    """Put an AE into a pool's rotation, or change the place that it has there; returns the membership.

    A joiner starts with no credit; a change keeps the credit. The capacity and the caps of tiers are of open leads, the
    daily and weekly cap of leads given in the AE's day and week. Leads that wait for the pool are given out after the
    commit. Raises PeopleError if a number is impossible.
    """
    if not 1 <= weight <= MAX_WEIGHT:
        raise PeopleError(f"A weight is a whole number from 1 to {MAX_WEIGHT}, not {weight}.")
    if capacity is not None and capacity < 0:
        raise PeopleError("A capacity is 0 or more open leads; leave it empty for no limit.")
    by_tier = dict(tier_caps or {})
    caps = {"daily_cap": daily_cap, "weekly_cap": weekly_cap, "tier_caps": by_tier}
    if any(cap is not None and cap < 0 for cap in (daily_cap, weekly_cap, *by_tier.values())):
        raise PeopleError("A cap is 0 or more leads; leave it empty for no limit.")
    place = {"weight": weight, "capacity": capacity, "is_active": is_active} | caps
    with transaction.atomic():
        leads.lock_pools([pool.pk])  # the rotation is not to see half a change
        membership, _ = Membership.objects.update_or_create(
            pool=pool,
            ae=ae,
            defaults=place,
            create_defaults=place | {"joined_at": at},
        )
        leads.drain_later(at=at, pool=pool)
    return membership


def deactivate_ae(*, ae: AE, at: datetime) -> int:
    """Take an AE off the leads for good: the open ones are routed anew. Returns how many those were.

    The log-in stays. If it is interrupted, the periodic task goes on.
    """
    with transaction.atomic():
        # Who is just choosing among the members ends first; whoever comes after sees that this one has left.
        leads.lock_pools(Membership.objects.filter(ae=ae).values_list("pool", flat=True))
        AE.objects.filter(pk=ae.pk).update(is_active=False)
    return leads.release_orphans(at=at)


def set_handling(
    *, rule_set: RuleSet, tier: str, handling: str, at: datetime, pool: Pool | None = None
) -> HandlingPolicy:
    """Say what is done with a tier of a rule set from now on, and by which pool; returns the policy.

    Open leads stay as they are; those that wait for an AE are routed by it after the commit. Raises PeopleError
    if there is no such handling.
    """
    if handling not in Handling.values:
        raise PeopleError(f"{handling!r} is not a handling: choose one of {', '.join(Handling.values)}.")
    with transaction.atomic():
        policy, _ = HandlingPolicy.objects.update_or_create(
            rule_set=rule_set, tier=tier, defaults={"handling": handling, "pool": pool}
        )
        leads.drain_later(at=at, anew=True)
    return policy


def _free_slug(name: str) -> str:
    """Return the name as a slug that no pool has: `west`, `west-2`, and so on."""
    base, taken = slugify(name)[:56] or "pool", set(Pool.objects.values_list("slug", flat=True))
    number = 1
    while (slug := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return slug
