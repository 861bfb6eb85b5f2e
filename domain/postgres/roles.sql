-- The two roles of Daysheet, and its schema. Run once per database, as a superuser or as a role with CREATEROLE:
-- `daysheet migrate` does it by itself where it may; a DBA can also do it with psql -f.
-- daysheet_owner owns every table and nobody can log in as it; daysheet_app is what the server runs as.
DO $$
BEGIN
    CREATE ROLE daysheet_owner NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- roles belong to the whole server, not to one database
END $$;
DO $$
BEGIN
    CREATE ROLE daysheet_app LOGIN;  -- without a password; set one: ALTER ROLE daysheet_app PASSWORD '...'
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
BEGIN
    -- Not 'MEMBER': since PostgreSQL 16 whoever makes a role is one, and still cannot become it.
    IF NOT pg_has_role(current_user, 'daysheet_owner', 'USAGE') THEN
        EXECUTE format('GRANT daysheet_owner TO %I', current_user);
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO daysheet_app', current_database());
END $$;
CREATE SCHEMA IF NOT EXISTS daysheet;
GRANT USAGE ON SCHEMA daysheet TO daysheet_app;  -- so that it can see when nobody has migrated yet
ALTER SCHEMA daysheet OWNER TO daysheet_owner;
