"""What a statement reads of persons, where users are judged. Pure."""

from collections.abc import Iterator, Sequence

from scoring.compiler.dialects import USED, Dialect
from scoring.compiler.query import Binder

KNOWN = "u.known AND u.merged_into_id IS NULL"
ONCE = 0  # the precedence of what is to be set once: of that the first counts, see models.Precedence


def members(say: Dialect, *, among: str | None = None) -> str:
    """Return the relation `m` of (account_id, user_id): known users who live in an account, or used the product there.

    `among` is an array of accounts; None: all.
    """
    living, used = KNOWN, f"{KNOWN} AND {USED}"
    if among is not None:
        living += f" AND {say.among('u.home_id', among)}"
        used += f" AND {say.among('t.account_id', among)}"
    return (
        f"(SELECT u.home_id AS account_id, u.id AS user_id FROM scoring_productuser u WHERE {living}"
        " UNION SELECT t.account_id, t.user_id FROM scoring_tile t"
        f" JOIN scoring_productuser u ON u.id = t.user_id WHERE {used}) AS m"
    )


def known(binder: Binder, traits: Sequence[str], *, day: str | None, ahead: bool) -> Iterator[str]:
    """Yield common table expressions of what is known of the users in `pairs`, besides what their tiles say.

    `u0`, `u1`, …: the user's own word on each trait; `said_ahead`: the first later day on which one is stated, if that
    is asked for; `barred`: who is excluded, and why. `day` is the one day of all; None: each pair has its own.
    """
    say, keys = binder.dialect, ["i.user_id"]
    rows = "FROM scoring_identity i JOIN scoring_traitchange c ON c.identity_id = i.id"
    rows += " WHERE i.user_id IN (SELECT user_id FROM pairs)"
    if day is None:
        day, keys = "p.as_of", ["i.user_id", "p.as_of"]
        rows = "FROM (SELECT DISTINCT user_id, as_of FROM pairs) p JOIN scoring_identity i ON i.user_id = p.user_id"
        rows += " JOIN scoring_traitchange c ON c.identity_id = i.id WHERE true"
    by, said_on = ", ".join(keys), say.day_of("c.at")
    for i, key in enumerate(traits):
        said = f"{rows} AND c.key = {binder.bind(key, 'text')} AND {said_on} <= {day}"
        yield f"u{i} AS (SELECT DISTINCT ON ({by}) {by}, c.value, c.number, c.day {said}{newest_of(say, by)})"
    if ahead:
        said = f"{rows} AND c.key = ANY({binder.bind(list(traits), 'text[]')}) AND {said_on} > {day}"
        yield f"said_ahead AS (SELECT {by}, min({said_on}) AS n {said} GROUP BY {by})"
    yield (
        "barred AS (SELECT p.user_id, p.as_of, min(x.why) AS why FROM (SELECT DISTINCT user_id, as_of FROM pairs) p"
        f" JOIN excluded_user x ON x.user_id = p.user_id WHERE {covers('x', 'p.as_of')} GROUP BY 1, 2)"
    )


def newest_of(say: Dialect, keys: str) -> str:
    """Return the order in which the statement about a trait that counts comes first."""
    return (
        f" ORDER BY {keys}, c.precedence DESC, CASE WHEN c.precedence = {ONCE} THEN c.at END"
        f", c.at DESC, {say.bytewise('c.message_id')} DESC, c.id DESC"
    )


def covers(alias: str, day: str) -> str:
    """Return the test whether a dated row covers the day."""
    return (
        f"({alias}.starts_on IS NULL OR {alias}.starts_on <= {day})"
        f" AND ({alias}.ends_on IS NULL OR {alias}.ends_on > {day})"
    )
