-- Who looked: a second log, of reads of patient data. Of exactly the same shape as daysheet.event, but that a look may
-- be about nobody in particular, so that whatever proves the one proves the other.

CREATE TABLE daysheet.access (
    position    bigint PRIMARY KEY CHECK (position > 0),
    stream      text COLLATE "C" NOT NULL,
    version     integer NOT NULL CHECK (version > 0),
    type        text COLLATE "C" NOT NULL,
    day         date,
    subject     uuid,  -- the patient or the appointment that was looked at
    data        bytea NOT NULL,
    meta        bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (stream, version)
);
CREATE INDEX access_by_day ON daysheet.access (day, position) WHERE day IS NOT NULL;
CREATE INDEX access_by_subject ON daysheet.access (subject, position) WHERE subject IS NOT NULL;
CREATE INDEX access_of_interruption ON daysheet.access (position) WHERE type LIKE 'recording-interrupted@%';
-- What a search found stands in its data, which is plain ASCII.
CREATE INDEX access_by_patient_found ON daysheet.access USING gin ((encode(data, 'escape')::jsonb -> 'patients'))
    WHERE type LIKE 'patients-searched@%';
-- By the actor named in meta, which is JSON: a quote inside one of its texts has a backslash before it, so what follows
-- this key is the actor. Whatever the bytes are, these functions do not fail: an index must never refuse a record.
CREATE INDEX access_by_actor ON daysheet.access
    (split_part(split_part(encode(meta, 'escape'), '"actor":"', 2), '"', 1), position);
CREATE INDEX event_by_actor ON daysheet.event
    (split_part(split_part(encode(meta, 'escape'), '"actor":"', 2), '"', 1), position);

-- Records a batch of looks in one transaction. A batch that is sent again, since nobody heard whether it arrived, adds
-- only what is not there yet.
CREATE FUNCTION daysheet.record_access(
    streams text[], versions int[], types text[], days date[], subjects uuid[], datas bytea[], metas bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    head bigint;
    latest timestamptz;
BEGIN
    -- A statement of its own: the next one must see what the lock's last holder committed.
    PERFORM pg_advisory_xact_lock(4004131707);

    SELECT a.position, a.recorded_at INTO head, latest FROM access a ORDER BY a.position DESC LIMIT 1;
    head := coalesce(head, 0);
    latest := greatest(clock_timestamp(), latest);  -- A clock set back must not reorder the record.

    INSERT INTO access (position, stream, version, type, day, subject, data, meta, recorded_at)
    SELECT head + row_number() OVER (ORDER BY nth), stream, version, type, day, subject, data, meta, latest
    FROM unnest(streams, versions, types, days, subjects, datas, metas)
        WITH ORDINALITY r(stream, version, type, day, subject, data, meta, nth)
    -- A lookup for each by itself: a plan made while the table was small must not read all of it later.
    WHERE (SELECT x.position FROM access x WHERE x.stream = r.stream AND x.version = r.version) IS NULL;

    PERFORM pg_notify('daysheet_access', '');
END $$;

CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.access
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
-- ALWAYS: also where session_replication_role would silence it.
ALTER TABLE daysheet.access ENABLE ALWAYS TRIGGER never_changed;

REVOKE ALL ON FUNCTION daysheet.record_access FROM PUBLIC;
GRANT SELECT ON daysheet.access TO daysheet_app;
GRANT EXECUTE ON FUNCTION daysheet.record_access TO daysheet_app;
