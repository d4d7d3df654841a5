"""What Django cannot describe: partitioned events and their keys, the guard of versions, the built-in signal."""

from django.db import migrations

EVENTS = """
CREATE SEQUENCE scoring_event_id_seq CACHE 1;
-- Partitions are made by facts.ensure_partitions, a week each, named scoring_event_YYYYMMDD after their Monday.
CREATE TABLE scoring_event (
    id bigint NOT NULL DEFAULT nextval('scoring_event_id_seq'),
    source_id bigint NOT NULL,
    message_id text NOT NULL,
    at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    identity_id bigint,
    account_id bigint,
    name text NOT NULL,
    properties jsonb NOT NULL,
    CHECK (identity_id IS NOT NULL OR account_id IS NOT NULL)
) PARTITION BY RANGE (at);
CREATE INDEX scoring_event_brin ON scoring_event USING brin (at, id) WITH (autosummarize = on);
ALTER SEQUENCE scoring_event_id_seq OWNED BY scoring_event.id;

-- The only authority on duplicates: the first 16 bytes of the message id's SHA-256, per source.
CREATE TABLE scoring_event_key (
    source_id bigint NOT NULL,
    digest bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (source_id, digest)
);

-- Logs that are filled and emptied all the time: vacuum them by count, not by share.
ALTER TABLE scoring_touched SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE scoring_crossed SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
"""

NO_EVENTS = """
ALTER TABLE scoring_touched RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE scoring_crossed RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
DROP TABLE scoring_event_key;
DROP TABLE scoring_event;
"""

IMMUTABLE = """
CREATE FUNCTION scoring_refuse_change_of_published_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rule version % is published and never changes; make a new version', OLD.id
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER published_version_never_changes
    BEFORE UPDATE ON scoring_ruleversion FOR EACH ROW
    WHEN (OLD.published_at IS NOT NULL AND NEW IS DISTINCT FROM OLD)
    EXECUTE FUNCTION scoring_refuse_change_of_published_version();
CREATE TRIGGER published_version_is_never_deleted
    BEFORE DELETE ON scoring_ruleversion FOR EACH ROW
    WHEN (OLD.published_at IS NOT NULL)
    EXECUTE FUNCTION scoring_refuse_change_of_published_version();
"""

NOT_IMMUTABLE = """
DROP TRIGGER published_version_is_never_deleted ON scoring_ruleversion;
DROP TRIGGER published_version_never_changes ON scoring_ruleversion;
DROP FUNCTION scoring_refuse_change_of_published_version();
"""

# What language.document.ANYTHING is, frozen here; a test holds it against the language.
ANY = """
INSERT INTO scoring_signal (digest, definition, activated_at, barrier, backfilled_to)
VALUES ('d8d35c71e0854d8cb2bd36cf1375bcc4434d5652e47fc554fee431c598f8d913', '{"event": "*"}', now(), 0, 0)
"""


class Migration(migrations.Migration):
    """Makes what the models of 0001 leave to SQL."""

    dependencies = [("scoring", "0001_initial")]

    operations = [
        migrations.RunSQL(EVENTS, NO_EVENTS),
        migrations.RunSQL(IMMUTABLE, NOT_IMMUTABLE),
        migrations.RunSQL(ANY, migrations.RunSQL.noop),
    ]
