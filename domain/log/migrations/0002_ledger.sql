-- The ledger: for each sealed log a Merkle tree over its rows (docs/ledger.md). Appended once and never touched again.

-- The one key that seals this store, pinned by its first use.
CREATE TABLE daysheet.ledger_key (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    public_key  bytea NOT NULL CHECK (octet_length(public_key) = 32),  -- Ed25519
    pinned_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A checkpoint that was signed, and the hashes of the leaves that it seals: those at indexes since .. size - 1.
CREATE TABLE daysheet.seal (
    log         text COLLATE "C" NOT NULL,
    size        bigint NOT NULL,
    since       bigint NOT NULL CHECK (since >= 0 AND since < size),
    root        bytea NOT NULL CHECK (octet_length(root) = 32),
    leaves      bytea NOT NULL CHECK (octet_length(leaves) = 32 * (size - since)),
    note        text NOT NULL,
    sealed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log, size),
    UNIQUE (log, since)  -- two sealers cannot go on from the same place
);

-- 256 hashes of one tile level, and the root over them: their one hash on the level above.
CREATE TABLE daysheet.tile (
    log         text COLLATE "C" NOT NULL,
    level       integer NOT NULL CHECK (level >= 0),
    index       bigint NOT NULL CHECK (index >= 0),
    hashes      bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root        bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (log, level, index)
);
-- Hashes do not get smaller, and pieces are read out of the middle.
ALTER TABLE daysheet.seal ALTER COLUMN leaves SET STORAGE EXTERNAL;
ALTER TABLE daysheet.tile ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- The bytes of a row's leaf, version 1. domain/ledger/leaf.py makes the same; both stay what they are for ever.
-- A single expression without settings of its own, so that it becomes part of the query that calls it.
CREATE FUNCTION daysheet.leaf(
    tag bytea, at bigint, recorded_at timestamptz, version integer, day date, subject uuid,
    stream text, type text, meta bytea, data bytea
) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT tag
        || int8send(at) || timestamptz_send(recorded_at) || int4send(version)
        || set_byte('\x00'::bytea, 0, (day IS NOT NULL)::int + 2 * (subject IS NOT NULL)::int)
        || coalesce(date_send(day), '\x00000000'::bytea)
        || coalesce(uuid_send(subject), '\x00000000000000000000000000000000'::bytea)
        || int4send(octet_length(convert_to(stream, 'UTF8'))) || int4send(octet_length(convert_to(type, 'UTF8')))
        || int4send(octet_length(meta)) || int4send(octet_length(data))
        || convert_to(stream, 'UTF8') || convert_to(type, 'UTF8') || meta || data
$$;

-- Pins the key where none is pinned. Returns the one that is.
CREATE FUNCTION daysheet.pin_ledger_key(public_key bytea) RETURNS bytea
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO ledger_key (public_key) VALUES ($1) ON CONFLICT DO NOTHING;
    RETURN (SELECT k.public_key FROM ledger_key k);  -- a statement of its own: it sees who came first
END $$;

-- Adds a seal, with the tiles that it fills. It goes on from the newest one, by the pinned key, or not at all.
CREATE FUNCTION daysheet.append_seal(
    log text, since bigint, size bigint, root bytea, leaves bytea, note text, public_key bytea,
    tile_levels int[], tile_indexes bigint[], tile_hashes bytea[], tile_roots bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = daysheet, pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM ledger_key k WHERE k.public_key = $7) THEN
        RAISE EXCEPTION 'this key is not the one that seals this store' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF $2 <> coalesce((SELECT max(s.size) FROM seal s WHERE s.log = $1), 0) THEN
        RAISE EXCEPTION 'another seal came first' USING ERRCODE = 'serialization_failure';
    END IF;
    INSERT INTO seal (log, since, size, root, leaves, note) VALUES ($1, $2, $3, $4, $5, $6);
    INSERT INTO tile (log, level, index, hashes, root)
    SELECT $1, t.level, t.index, t.hashes, t.root
    FROM unnest(tile_levels, tile_indexes, tile_hashes, tile_roots) t(level, index, hashes, root);
END $$;

CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.ledger_key
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.seal
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON daysheet.tile
    FOR EACH STATEMENT EXECUTE FUNCTION daysheet.refuse_change();
ALTER TABLE daysheet.ledger_key ENABLE ALWAYS TRIGGER never_changed;
ALTER TABLE daysheet.seal ENABLE ALWAYS TRIGGER never_changed;
ALTER TABLE daysheet.tile ENABLE ALWAYS TRIGGER never_changed;

REVOKE ALL ON FUNCTION daysheet.leaf, daysheet.pin_ledger_key, daysheet.append_seal FROM PUBLIC;
GRANT SELECT ON daysheet.ledger_key, daysheet.seal, daysheet.tile TO daysheet_app;
GRANT EXECUTE ON FUNCTION daysheet.leaf, daysheet.pin_ledger_key, daysheet.append_seal TO daysheet_app;
