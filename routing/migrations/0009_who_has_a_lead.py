"""Who has a lead stands in two tables, and the database sees to it that they say the same.

What a composite key compares are generated columns, which are null where there is nothing to compare. The keys are
deferred: within a transaction the lead and its assignments are written one after the other.
"""

from django.db import migrations

# Code has always kept this; where a row is out of order nonetheless, what the lead says stands.
REPAIR = [
    """UPDATE routing_assignment AS made SET released_at = greatest(made.at, coalesce(lead.closed_at, lead.assigned_at))
       FROM routing_lead AS lead
       WHERE lead.id = made.lead_id AND made.ae_id IS NOT NULL AND made.released_at IS NULL AND NOT (
           lead.state IN ('assigned', 'snoozed')
           AND lead.ae_id = made.ae_id AND lead.pool_id IS NOT DISTINCT FROM made.pool_id)""",
    """INSERT INTO routing_assignment (lead_id, pool_id, ae_id, how, at, decision, refunded_for)
       SELECT lead.id, lead.pool_id, lead.ae_id, 'by_hand', lead.assigned_at, jsonb_build_object(
           'chosen', lead.ae_id, 'why', 'Nobody wrote down who gave it: put in order by an update of the system.'), ''
       FROM routing_lead AS lead
       WHERE lead.state IN ('assigned', 'snoozed') AND NOT EXISTS (
           SELECT FROM routing_assignment AS made
           WHERE made.lead_id = lead.id AND made.ae_id IS NOT NULL AND made.released_at IS NULL)
       ORDER BY lead.id""",
    """UPDATE routing_breach AS breach SET lead_id = made.lead_id, ae_id = made.ae_id FROM routing_assignment AS made
       WHERE made.id = breach.assignment_id AND (made.lead_id <> breach.lead_id OR made.ae_id <> breach.ae_id)""",
    # Nothing is to wait for the end of the transaction when the tables are altered.
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET CONSTRAINTS ALL DEFERRED",
]

# The AE who holds a lead, in which pool (0: in none), is the one of its standing assignment, and the other way round.
HELD = [
    """ALTER TABLE routing_lead
       ADD COLUMN held_by bigint GENERATED ALWAYS AS (CASE WHEN state IN ('assigned', 'snoozed') THEN ae_id END) STORED,
       ADD COLUMN held_in bigint GENERATED ALWAYS AS
           (CASE WHEN state IN ('assigned', 'snoozed') THEN coalesce(pool_id, 0) END) STORED,
       ADD CONSTRAINT lead_and_holder UNIQUE (id, held_by, held_in)""",
    """ALTER TABLE routing_assignment
       ADD COLUMN stands_with bigint GENERATED ALWAYS AS (CASE WHEN released_at IS NULL THEN ae_id END) STORED,
       ADD COLUMN stands_in bigint GENERATED ALWAYS AS
           (CASE WHEN released_at IS NULL AND ae_id IS NOT NULL THEN coalesce(pool_id, 0) END) STORED,
       ADD CONSTRAINT lead_and_assignment UNIQUE (lead_id, stands_with, stands_in)""",
    """ALTER TABLE routing_assignment ADD CONSTRAINT standing_assignment_is_the_leads
       FOREIGN KEY (lead_id, stands_with, stands_in) REFERENCES routing_lead (id, held_by, held_in)
       DEFERRABLE INITIALLY DEFERRED""",
    """ALTER TABLE routing_lead ADD CONSTRAINT held_lead_has_its_assignment
       FOREIGN KEY (id, held_by, held_in) REFERENCES routing_assignment (lead_id, stands_with, stands_in)
       DEFERRABLE INITIALLY DEFERRED""",
]
UNHELD = [
    "ALTER TABLE routing_lead DROP CONSTRAINT held_lead_has_its_assignment",
    "ALTER TABLE routing_assignment DROP CONSTRAINT standing_assignment_is_the_leads",
    """ALTER TABLE routing_assignment DROP CONSTRAINT lead_and_assignment,
       DROP COLUMN stands_with, DROP COLUMN stands_in""",
    "ALTER TABLE routing_lead DROP CONSTRAINT lead_and_holder, DROP COLUMN held_by, DROP COLUMN held_in",
]

# Whose turn it was has a place in the rotation.
TURNS = [
    """ALTER TABLE routing_assignment
       ADD COLUMN served bigint GENERATED ALWAYS AS (CASE WHEN how IN ('rotation', 'passed') THEN ae_id END) STORED,
       ADD CONSTRAINT turn_is_of_a_pool CHECK (how NOT IN ('rotation', 'passed') OR ae_id IS NULL OR pool_id IS NOT NULL),
       ADD CONSTRAINT turn_is_a_members FOREIGN KEY (pool_id, served) REFERENCES routing_membership (pool_id, ae_id)
       DEFERRABLE INITIALLY DEFERRED""",
]
NO_TURNS = [
    """ALTER TABLE routing_assignment DROP CONSTRAINT turn_is_a_members, DROP CONSTRAINT turn_is_of_a_pool,
       DROP COLUMN served""",
]

# A breach is of the lead and the AE of its assignment.
BREACHES = [
    "ALTER TABLE routing_assignment ADD CONSTRAINT assignment_and_ae UNIQUE (id, lead_id, ae_id)",
    """ALTER TABLE routing_breach ADD CONSTRAINT breach_is_of_the_assignment
       FOREIGN KEY (assignment_id, lead_id, ae_id) REFERENCES routing_assignment (id, lead_id, ae_id)
       DEFERRABLE INITIALLY DEFERRED""",
]
NO_BREACHES = [
    "ALTER TABLE routing_breach DROP CONSTRAINT breach_is_of_the_assignment",
    "ALTER TABLE routing_assignment DROP CONSTRAINT assignment_and_ae",
]

# Nobody is absent twice at a time. Ranges of one number stand for a plain equality, which needs an extension.
ABSENCES = [
    """ALTER TABLE routing_absence ADD CONSTRAINT absences_do_not_overlap
       EXCLUDE USING gist (int8range(ae_id, ae_id, '[]') WITH &&, tstzrange(starts_at, ends_at) WITH &&)""",
]
NO_ABSENCES = ["ALTER TABLE routing_absence DROP CONSTRAINT absences_do_not_overlap"]


class Migration(migrations.Migration):
    """Puts rows in order, then says so to the database."""

    dependencies = [("routing", "0008_fair_by_value")]

    operations = [
        migrations.RunSQL(REPAIR, migrations.RunSQL.noop),
        migrations.RunSQL(HELD, UNHELD),
        migrations.RunSQL(TURNS, NO_TURNS),
        migrations.RunSQL(BREACHES, NO_BREACHES),
        migrations.RunSQL(ABSENCES, NO_ABSENCES),
    ]
