-- The log: facts, appended once and never touched again.
-- Runs as daysheet_owner, which nobody can log in as; the app (daysheet_app) may read, and call append.

CREATE TABLE daysheet.store (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    store_id    uuid NOT NULL,
    timezone    text NOT NULL,
    key_check   bytea NOT NULL,  -- recognises the master key; 0004 gives it a table of its own
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE daysheet.event (
    position    bigint PRIMARY KEY CHECK (position > 0),
    stream      text COLLATE "C" NOT NULL,
    version     integer NOT NULL CHECK (version > 0),
    type        text COLLATE "C" NOT NULL,
    day         date,
    subject     uuid NOT NULL,
    data        bytea NOT NULL,
    meta        bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (stream, version)
);
CREATE INDEX event_by_day ON daysheet.event (day, position) WHERE day IS NOT NULL;
CREATE INDEX event_by_subject ON daysheet.event (subject, position);
CREATE INDEX event_of_erasure ON daysheet.event (subject) WHERE type LIKE 'patient-erased@%';

-- What an Idempotency-Key led to. The key and the request are there as keyed digests only.
CREATE TABLE daysheet.request (
    key         bytea PRIMARY KEY,
    fingerprint bytea NOT NULL,
    outcome     bytea NOT NULL,
    position    bigint NOT NULL  -- of the command's last event; 0 for one that appended nothing
);

-- The vault: what is personal, and what must be unique. The one place that forgets.
CREATE TABLE daysheet.secret (
    name        text PRIMARY KEY,
    wrapped     bytea NOT NULL
);
CREATE TABLE daysheet.patient_key (
    patient     uuid PRIMARY KEY,
    wrapped     bytea NOT NULL
);
CREATE TABLE daysheet.search_token (
    token       bytea NOT NULL,
    patient     uuid NOT NULL,
    PRIMARY KEY (token, patient)
);
CREATE INDEX search_token_by_patient ON daysheet.search_token (patient);
CREATE TABLE daysheet.claim (
    name        bytea PRIMARY KEY,
    holder      uuid NOT NULL
);
CREATE INDEX claim_by_holder ON daysheet.claim (holder);

-- Appends a batch of commands in one transaction, each with its own outcome.
--
-- Commands are numbered 1..n. The arrays come in four groups: one element per command (keys, fingerprints, outcomes;
-- NULL where the asker sent no Idempotency-Key), one per event, one per stream that a command appends nothing to but
-- rests on at that version, one per change of the vault.
--   appended   last_position is its last event's; NULL for a command without events
--   repeated   its events are there already: an earlier try did commit, though nobody heard
--   replayed   its key was used before, by another command; nothing was appended
--   claimed    somebody else holds what it claims; nothing was appended
--   conflict   a stream that it appends to, or rests on, has moved on; nothing was appended
-- The caller sees to it that no two commands of a batch share a stream, a key or a claim.
CREATE FUNCTION daysheet.append(
    keys bytea[], fingerprints bytea[], outcomes bytea[],
    event_commands int[], streams text[], versions int[], types text[], days date[], subjects uuid[],
    datas bytea[], metas bytea[],
    rest_commands int[], rest_streams text[], rest_versions int[],
    vault_commands int[], vault_actions text[], vault_subjects uuid[], vault_values bytea[]
) RETURNS TABLE (command int, status text, last_position bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    head bigint;
    latest timestamptz;
    statuses text[] := array_fill('appended'::text, ARRAY[cardinality(keys)]);
    moved_on int[];
    number int;
    last_there bigint;
    event_positions bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(event_commands)]);
    positions bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(keys)]);
BEGIN
    -- A statement of its own: the next one must see what the lock's last holder committed.
    PERFORM pg_advisory_xact_lock(4004131704);

    SELECT e.position, e.recorded_at INTO head, latest FROM event e ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    latest := greatest(clock_timestamp(), latest);  -- A clock set back must not reorder the record.

    -- What stands in a command's way; of several reasons the last one found here is told. Mostly there are none.
    moved_on := ARRAY(
        SELECT DISTINCT no FROM (
            SELECT no, stream, min(version) - 1 AS version
            FROM unnest(event_commands, streams, versions) e(no, stream, version) GROUP BY no, stream
            UNION ALL
            SELECT no, stream, version FROM unnest(rest_commands, rest_streams, rest_versions) r(no, stream, version)
        ) r
        WHERE version <> coalesce((  -- Older versions stay out of it: an index reads all it may find on a page.
            SELECT x.version FROM event x WHERE x.stream = r.stream AND x.version >= r.version
            ORDER BY x.version DESC LIMIT 1), 0));
    FOREACH number IN ARRAY moved_on LOOP
        statuses[number] := 'conflict';
    END LOOP;
    IF cardinality(vault_commands) > 0 THEN
        FOR number IN
            SELECT no FROM unnest(vault_commands, vault_actions, vault_subjects, vault_values)
                v(no, action, subject, value)
            JOIN claim ON action = 'claim' AND claim.name = value AND claim.holder <> subject
        LOOP
            statuses[number] := 'claimed';
        END LOOP;
    END IF;
    FOR number IN SELECT no FROM unnest(keys) WITH ORDINALITY c(key, no) JOIN request ON request.key = c.key LOOP
        statuses[number] := 'replayed';
    END LOOP;
    IF cardinality(moved_on) > 0 THEN
        FOR number, last_there IN
            SELECT no, max(x.position) FROM unnest(event_commands, streams, versions, metas) e(no, stream, version, meta)
            LEFT JOIN event x ON x.stream = e.stream AND x.version = e.version AND x.meta = e.meta
            WHERE no = ANY (moved_on)
            GROUP BY no HAVING count(*) = count(x.position)
        LOOP
            statuses[number] := 'repeated';
            positions[number] := last_there;
        END LOOP;
    END IF;

    FOR nth IN 1 .. cardinality(event_commands) LOOP
        number := event_commands[nth];
        IF statuses[number] = 'appended' THEN
            head := head + 1;
            event_positions[nth] := head;
            positions[number] := head;
        END IF;
    END LOOP;
    INSERT INTO event (position, stream, version, type, day, subject, data, meta, recorded_at)
    SELECT position, stream, version, type, day, subject, data, meta, latest
    FROM unnest(event_positions, streams, versions, types, days, subjects, datas, metas)
        e(position, stream, version, type, day, subject, data, meta)
    WHERE position IS NOT NULL;

    INSERT INTO request (key, fingerprint, outcome, position)
    SELECT key, fingerprint, outcome, coalesce(positions[no], 0)
    FROM unnest(keys, fingerprints, outcomes) WITH ORDINALITY c(key, fingerprint, outcome, no)
    WHERE key IS NOT NULL AND statuses[no] = 'appended';

    IF cardinality(vault_commands) > 0 THEN
        INSERT INTO patient_key (patient, wrapped)
        SELECT subject, value FROM unnest(vault_commands, vault_actions, vault_subjects, vault_values)
            v(no, action, subject, value) WHERE action = 'key' AND statuses[no] = 'appended';
        DELETE FROM search_token USING unnest(vault_commands, vault_actions, vault_subjects, vault_values)
            v(no, action, subject, value)
        WHERE action = 'untoken' AND statuses[no] = 'appended' AND token = value AND patient = subject;
        INSERT INTO search_token (token, patient)
        SELECT value, subject FROM unnest(vault_commands, vault_actions, vault_subjects, vault_values)
            v(no, action, subject, value) WHERE action = 'token' AND statuses[no] = 'appended'
        ON CONFLICT DO NOTHING;
        DELETE FROM claim USING unnest(vault_commands, vault_actions, vault_subjects, vault_values)
            v(no, action, subject, value)
        WHERE action = 'unclaim' AND statuses[no] = 'appended' AND name = value AND holder = subject;
        INSERT INTO claim (name, holder)
        SELECT value, subject FROM unnest(vault_commands, vault_actions, vault_subjects, vault_values)
            v(no, action, subject, value) WHERE action = 'claim' AND statuses[no] = 'appended'
        ON CONFLICT DO NOTHING;
        PERFORM forget(subject) FROM unnest(vault_commands, vault_actions, vault_subjects)
            v(no, action, subject) WHERE action = 'forget' AND statuses[no] = 'appended';
    END IF;

    IF 'appended' = ANY (statuses) THEN
        PERFORM pg_notify('daysheet_event', '');
    END IF;
    RETURN QUERY SELECT c.no, statuses[c.no], positions[c.no] FROM generate_subscripts(statuses, 1) c(no);
END $$;

-- Without the key nothing sealed for this patient can be read again, and nothing leads to them.
CREATE FUNCTION daysheet.forget(subject uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM patient_key WHERE patient = subject;
    DELETE FROM search_token WHERE patient = subject;
    DELETE FROM claim WHERE holder = subject;
END $$;

-- An erasure whose key came back, with an old backup of the vault, is carried out again. Returns how many.
CREATE FUNCTION daysheet.finish_erasures() RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
    WITH erased AS (
        SELECT DISTINCT subject FROM event
        WHERE type LIKE 'patient-erased@%'
          AND (EXISTS (SELECT FROM patient_key WHERE patient = subject)
            OR EXISTS (SELECT FROM search_token WHERE patient = subject)
            OR EXISTS (SELECT FROM claim WHERE holder = subject))
    )
    SELECT count(forget(subject)) FROM erased;
$$;

-- Who this store is, told once. Later callers get what the first one said.
CREATE FUNCTION daysheet.introduce(store_id uuid, timezone text, key_check bytea, names text[], wrapped bytea[])
RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
    WITH first AS (
        INSERT INTO store (store_id, timezone, key_check) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1
    )
    INSERT INTO secret (name, wrapped) SELECT u.name, u.wrapped FROM first, unnest($4, $5) u(name, wrapped);
$$;

CREATE FUNCTION daysheet.refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '% of %.%: the record is never changed', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.event
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.request
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.store
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
-- ALWAYS: also where session_replication_role would silence them.
ALTER TABLE daysheet.event ENABLE ALWAYS TRIGGER never_changed;
ALTER TABLE daysheet.request ENABLE ALWAYS TRIGGER never_changed;
ALTER TABLE daysheet.store ENABLE ALWAYS TRIGGER never_changed;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA daysheet FROM PUBLIC;
GRANT USAGE ON SCHEMA daysheet TO daysheet_app;
GRANT SELECT ON ALL TABLES IN SCHEMA daysheet TO daysheet_app;
GRANT EXECUTE ON FUNCTION daysheet.append, daysheet.finish_erasures, daysheet.introduce TO daysheet_app;
