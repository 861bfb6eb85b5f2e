-- The master keys of the vault, one after the other. The newest wraps; the ones before it are retired.
CREATE TABLE daysheet.master_key (
    number      integer PRIMARY KEY CHECK (number > 0),
    key_check   bytea NOT NULL,  -- recognises the key, and tells nothing about it (see domain/vault/master.py)
    since       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX master_key_by_id ON daysheet.master_key (substr(key_check, 1, 8));
INSERT INTO daysheet.master_key SELECT 1, key_check, created_at FROM daysheet.store;
ALTER TABLE daysheet.store DROP COLUMN key_check;

-- Whatever is wrapped begins with the id of its master key: the first 8 bytes of the check.
UPDATE daysheet.secret SET wrapped = substr(key_check, 1, 8) || wrapped FROM daysheet.master_key;
UPDATE daysheet.patient_key SET wrapped = substr(key_check, 1, 8) || wrapped FROM daysheet.master_key;

CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.master_key
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
ALTER TABLE daysheet.master_key ENABLE ALWAYS TRIGGER never_changed;

-- A server that has not heard of the newest master key yet must not leave a key behind that only a retired one opens.
CREATE FUNCTION daysheet.refuse_retired_master_key() RETURNS trigger
LANGUAGE plpgsql
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM master_key retired JOIN master_key newer ON newer.number > retired.number
        WHERE substr(retired.key_check, 1, 8) = substr(NEW.wrapped, 1, 8)
    ) THEN
        RAISE EXCEPTION 'the master key that wrapped this is retired' USING ERRCODE = '23R01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER wrapped_by_the_newest BEFORE INSERT OR UPDATE ON daysheet.patient_key
    FOR EACH ROW EXECUTE FUNCTION daysheet.refuse_retired_master_key();
CREATE TRIGGER wrapped_by_the_newest BEFORE INSERT OR UPDATE ON daysheet.secret
    FOR EACH ROW EXECUTE FUNCTION daysheet.refuse_retired_master_key();

-- From its commit on this master key is the newest. One that was ever there stays where it was.
-- The lock is the append's: whatever it keeps was wrapped, and committed, either before this or under the new key.
CREATE FUNCTION daysheet.add_master_key(key_check bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4004131704);
    INSERT INTO master_key (number, key_check) SELECT coalesce(max(number), 0) + 1, $1 FROM master_key
    ON CONFLICT DO NOTHING;
END $$;

-- The same keys, wrapped anew; those that are not as they were stay as they are. In turn with appends: who is
-- forgotten meanwhile stays forgotten, and nobody waits for the other's rows. Returns how many were changed.
CREATE FUNCTION daysheet.rewrap(patients uuid[], were bytea[], are bytea[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4004131704);
    UPDATE patient_key k SET wrapped = u.new FROM unnest($1, $2, $3) u(patient, old, new)
    WHERE k.patient = u.patient AND k.wrapped = u.old;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END $$;

CREATE FUNCTION daysheet.rewrap_secrets(names text[], were bytea[], are bytea[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
    WITH changed AS (
        UPDATE secret s SET wrapped = u.new FROM unnest($1, $2, $3) u(name, old, new)
        WHERE s.name = u.name AND s.wrapped = u.old RETURNING 1
    )
    SELECT count(*) FROM changed;
$$;

CREATE OR REPLACE FUNCTION daysheet.introduce(
    store_id uuid, timezone text, key_check bytea, names text[], wrapped bytea[]
) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
    WITH first AS (
        INSERT INTO store (store_id, timezone) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1
    ), key AS (
        INSERT INTO master_key (number, key_check) SELECT 1, $3 FROM first
    )
    INSERT INTO secret (name, wrapped) SELECT u.name, u.wrapped FROM first, unnest($4, $5) u(name, wrapped);
$$;

-- A forgotten key is cleared out of the table's pages at autovacuum's next round, not when a fifth of them are gone.
ALTER TABLE daysheet.patient_key SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0);

-- Erasures in their order, for whoever keeps them outside.
DROP INDEX daysheet.event_of_erasure;
CREATE INDEX event_of_erasure ON daysheet.event (position, subject) WHERE type LIKE 'patient-erased@%';

REVOKE ALL ON FUNCTION daysheet.refuse_retired_master_key, daysheet.add_master_key, daysheet.rewrap,
    daysheet.rewrap_secrets FROM PUBLIC;
GRANT SELECT ON daysheet.master_key TO daysheet_app;
GRANT EXECUTE ON FUNCTION daysheet.add_master_key, daysheet.rewrap, daysheet.rewrap_secrets TO daysheet_app;
