"""Is the database's schema what this release's migrations make, and can nobody do more to the record than they should?

What they make is kept in schema.json: the digest of every function, every trigger, constraint and index, and every
right of the app's role.
It is made by scripts/schema from a database that was just migrated, and a test holds it against one. So a database can
be looked at by whoever may connect to it, and nothing has to be made anew beside it.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec

from domain.log.migrate import SchemaMismatch, require_latest
from domain.postgres.connect import APP_ROLE
from domain.postgres.finding import Finding, failure, ok, warning

if TYPE_CHECKING:
    import asyncpg

    from domain.postgres.connect import Connection

OWNER: Final = "daysheet_owner"

# What a function does, by all that decides it, and not by how a release of PostgreSQL would print it.
_FUNCTIONS: Final = """
SELECT proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS signature,
    encode(sha256(convert_to(concat_ws(chr(31), prosrc, lanname, prosecdef, provolatile, proisstrict, proretset,
        pg_get_function_result(p.oid), proconfig), 'UTF8')), 'hex') AS digest
FROM pg_proc p JOIN pg_language l ON l.oid = prolang
WHERE pronamespace = 'daysheet'::regnamespace ORDER BY 1
"""
_TRIGGERS: Final = """
SELECT relname || '.' || tgname AS name,
    CASE tgenabled WHEN 'A' THEN 'always' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'on replicas' ELSE 'unless replicating'
    END || ': ' || pg_get_triggerdef(t.oid) AS definition
FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
WHERE relnamespace = 'daysheet'::regnamespace AND NOT tgisinternal
UNION ALL
SELECT tablename || '.' || rulename, definition FROM pg_rules WHERE schemaname = 'daysheet'
ORDER BY 1
"""
# A constraint is named by its definition: its name says nothing, and two of one table's may be alike but for that.
# NOT NULL is a constraint with a name since PostgreSQL 18 alone, so it is read from the column.
_CONSTRAINTS: Final = """
SELECT relname || ': ' || pg_get_constraintdef(k.oid) AS name, CASE WHEN convalidated THEN 'valid' ELSE 'not valid' END
FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid
WHERE relnamespace = 'daysheet'::regnamespace AND contype NOT IN ('n', 't')
UNION ALL
SELECT relname || '.' || attname || ': NOT NULL', CASE WHEN EXISTS (SELECT FROM pg_constraint
        WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum] AND NOT convalidated)
    THEN 'not valid' ELSE 'valid' END
FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
WHERE relnamespace = 'daysheet'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND attnotnull
  AND NOT attisdropped
UNION ALL
SELECT c.relname || '.' || i.relname || ': ' || pg_get_indexdef(i.oid),
    CASE WHEN indisvalid AND indisready AND indislive THEN 'valid' ELSE 'not valid' END
FROM pg_index x JOIN pg_class i ON i.oid = indexrelid JOIN pg_class c ON c.oid = indrelid
WHERE c.relnamespace = 'daysheet'::regnamespace AND c.relkind IN ('r', 'p')
"""
_ROW_SECURITY: Final = """
SELECT relname || ': row security is enabled' || CASE WHEN relforcerowsecurity THEN ', and forced' ELSE '' END AS done
FROM pg_class WHERE relnamespace = 'daysheet'::regnamespace AND relrowsecurity
UNION ALL
SELECT relname || ': row security is forced' FROM pg_class
WHERE relnamespace = 'daysheet'::regnamespace AND relforcerowsecurity AND NOT relrowsecurity
UNION ALL
SELECT relname || ': policy ' || polname FROM pg_policy JOIN pg_class c ON c.oid = polrelid
WHERE relnamespace = 'daysheet'::regnamespace
ORDER BY 1
"""
# What the role may do, wherever it has that from: granted to it, to everybody, or to a role that it is a member of.
_RIGHTS: Final = """
SELECT privilege || ' on table ' || relname AS granted
FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) privilege
WHERE relnamespace = 'daysheet'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (has_table_privilege($1, c.oid, privilege)
    OR CASE WHEN privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
        THEN has_any_column_privilege($1, c.oid, privilege) END)
UNION ALL
SELECT privilege || ' on sequence ' || relname
FROM pg_class c, unnest('{USAGE,SELECT,UPDATE}'::text[]) privilege
WHERE relnamespace = 'daysheet'::regnamespace AND relkind = 'S' AND has_sequence_privilege($1, c.oid, privilege)
UNION ALL
SELECT 'EXECUTE on function ' || proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
FROM pg_proc p WHERE pronamespace = 'daysheet'::regnamespace AND has_function_privilege($1, p.oid, 'EXECUTE')
UNION ALL
SELECT privilege || ' on schema daysheet' FROM unnest('{USAGE,CREATE}'::text[]) privilege
WHERE has_schema_privilege($1, 'daysheet', privilege)
UNION ALL
SELECT 'CREATE on the database' WHERE has_database_privilege($1, current_database(), 'CREATE')
ORDER BY 1
"""
_OTHERS: Final = """
SELECT coalesce(nullif(grantee, 0)::regrole::text, 'everybody') || ': ' || privilege_type || ' on ' || what AS granted,
    privilege_type <> 'SELECT' AS changes
FROM (
    SELECT relname::text AS what, (aclexplode(relacl)).* FROM pg_class WHERE relnamespace = 'daysheet'::regnamespace
    UNION ALL
    SELECT relname || '.' || attname, (aclexplode(attacl)).*
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'daysheet'::regnamespace
    UNION ALL
    SELECT proname::text, (aclexplode(coalesce(proacl, acldefault('f', proowner)))).*
    FROM pg_proc WHERE pronamespace = 'daysheet'::regnamespace
) granted
WHERE grantee NOT IN ($1::regrole, $2::regrole) ORDER BY 1
"""
_STRANGERS: Final = """
SELECT what || ' is ' || pg_get_userbyid(owner) || '''s' AS owned FROM (
    SELECT 'schema ' || nspname AS what, nspowner AS owner FROM pg_namespace WHERE nspname = 'daysheet'
    UNION ALL
    SELECT 'table ' || relname, relowner FROM pg_class
    WHERE relnamespace = 'daysheet'::regnamespace AND relkind NOT IN ('i', 'I', 't', 'c')
    UNION ALL
    SELECT 'function ' || proname, proowner FROM pg_proc WHERE pronamespace = 'daysheet'::regnamespace
) owned
WHERE owner <> $1::regrole ORDER BY 1
"""
_POWERS: Final = """
SELECT rolcanlogin, rolsuper, array_remove(ARRAY[
    CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
    CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
    CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL) AS powers,
    ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid ORDER BY 1) AS member_of
FROM pg_roles r WHERE rolname = $1
"""
_MAY_BECOME: Final = """
SELECT rolname FROM pg_roles WHERE pg_has_role(oid, $1, 'MEMBER') AND NOT rolsuper AND rolname <> $1 ORDER BY 1
"""
_SESSION: Final = """
SELECT session_user::text AS name, (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)
    OR pg_has_role(session_user, $1, 'MEMBER') AS mighty
"""


_ARGUMENTS: Final = re.compile(r"\([^()]{40,}\)")
"""More of them than anybody reads."""
_TAMPERED: Final = (
    "whoever did this had an owner's rights: find out who and when, keep a copy, and verify the record; then run what "
    "domain/log/migrations has there again"
)


class Schema(msgspec.Struct, frozen=True):
    """Functions by signature, as a digest of all that decides what they do; triggers by table and name, with whether
    they are enabled; constraints and indexes by table and definition, with whether they are valid; what the app's
    role may do."""

    functions: dict[str, str]
    triggers: dict[str, str]
    constraints: dict[str, str]
    rights: list[str]


def expected() -> Schema:
    """What this release's migrations make."""
    return msgspec.json.decode((files("domain.log") / "schema.json").read_bytes(), type=Schema)


async def found(connection: Connection) -> Schema:
    """What there is."""
    return Schema(
        functions=dict(map(_pair, await connection.fetch(_FUNCTIONS))),
        triggers=dict(map(_pair, await connection.fetch(_TRIGGERS))),
        constraints=dict(sorted(map(_pair, await connection.fetch(_CONSTRAINTS)))),  # in no collation's order
        rights=[row["granted"] for row in await connection.fetch(_RIGHTS, APP_ROLE)],
    )


def _pair(row: asyncpg.Record) -> tuple[str, str]:
    name, value = row
    return name, value


# --- what is looked at ---------------------------------------------------------------------------


async def release(connection: Connection) -> Finding:
    """Whether the rest can be compared at all."""
    try:
        await require_latest(connection)
    except SchemaMismatch as error:
        return failure("schema", str(error), "until then, nothing in the schema can be compared")
    return ok("schema", "of this release")


async def owner(connection: Connection) -> Finding:
    strangers = [row["owned"] for row in await connection.fetch(_STRANGERS, OWNER)]
    if strangers:
        return failure(
            "owner", _listed(strangers), f"ALTER … OWNER TO {OWNER}: an owner can undo what protects a table"
        )
    login, is_super, *_ = await connection.fetchrow(_POWERS, OWNER)  # type: ignore[misc]
    if login or is_super:
        return failure("owner", f"{OWNER} can log in", f"ALTER ROLE {OWNER} NOLOGIN NOSUPERUSER: nobody should be it")
    members = [row["rolname"] for row in await connection.fetch(_MAY_BECOME, OWNER)]
    if APP_ROLE in members:
        return failure("owner", f"{APP_ROLE} can become {OWNER}", f"REVOKE {OWNER} FROM {APP_ROLE}")
    may = f"; {', '.join(members)} may become it, and migrate" if members else ""
    return ok("owner", f"all is {OWNER}'s, which cannot log in{may}")


async def app_role(connection: Connection) -> Finding:
    """What the server's role is, beside what it is granted."""
    _, _, powers, member_of = await connection.fetchrow(_POWERS, APP_ROLE)  # type: ignore[misc]
    if powers:
        without = " ".join(f"NO{power}" for power in powers)
        return failure("app role", f"{APP_ROLE} has {', '.join(powers)}", f"ALTER ROLE {APP_ROLE} {without}")
    if member_of:
        revoke = f"REVOKE {', '.join(member_of)} FROM {APP_ROLE}"
        return failure("app role", f"{APP_ROLE} is a member of {', '.join(member_of)}", revoke)
    return ok("app role", f"{APP_ROLE} has no powers of its own")


async def session(connection: Connection) -> Finding:
    """Whom the URL names. The server becomes the app's role all the same; whoever gets hold of its URL need not."""
    name, mighty = await connection.fetchrow(_SESSION, OWNER)  # type: ignore[misc]
    if mighty:
        return warning(
            "database user",
            f"{name} can change the schema, and with it the record",
            f"fine for this check; give `serve` the URL of {APP_ROLE}",
        )
    return ok("database user", f"{name} can do no more than the server does")


def rights(actual: Schema, wanted: Schema) -> Finding:
    too_many = sorted(set(actual.rights) - set(wanted.rights))
    if too_many:
        return failure(
            "rights", f"{APP_ROLE} may too much: {_listed(too_many)}", f"REVOKE it from {APP_ROLE} and PUBLIC"
        )
    missing = sorted(set(wanted.rights) - set(actual.rights))
    if missing:
        return failure(
            "rights", f"{APP_ROLE} may not: {_listed(missing)}", f"GRANT it to {APP_ROLE}: the server needs it"
        )
    return ok("rights", f"{APP_ROLE} may read, and call what appends: {len(actual.rights)} rights, as migrated")


async def others(connection: Connection) -> Finding:
    granted = await connection.fetch(_OTHERS, OWNER, APP_ROLE)
    changing = [row["granted"] for row in granted if row["changes"]]
    if changing:
        return failure("others' rights", _listed(changing), "REVOKE it: only the server's role may write here")
    if granted:
        reading = _listed([row["granted"] for row in granted])
        return warning("others' rights", reading, "REVOKE it, unless these are meant to read the whole record")
    return ok("others' rights", "nobody else is granted anything")


def triggers(actual: Schema, wanted: Schema) -> Finding:
    differences = _differences(actual.triggers, wanted.triggers)
    if differences:
        return failure("triggers", differences, _TAMPERED)
    return ok("triggers", f"{len(actual.triggers)} in place, and enabled always")


def functions(actual: Schema, wanted: Schema) -> Finding:
    differences = _differences(actual.functions, wanted.functions)
    if differences:
        return failure("functions", differences, _TAMPERED)
    return ok("functions", f"{len(actual.functions)}, each with the digest of this release")


def constraints(actual: Schema, wanted: Schema) -> Finding:
    differences = _differences(actual.constraints, wanted.constraints)
    if differences:
        return failure("constraints", differences, _TAMPERED)
    return ok("constraints", f"{len(actual.constraints)} constraints and indexes, as migrated")


async def row_security(connection: Connection) -> Finding:
    """It is none of ours: a policy can hide an event from the app, with every row and every seal in place."""
    done = [row["done"] for row in await connection.fetch(_ROW_SECURITY)]
    if done:
        advice = (
            "find out who did this and when; then ALTER TABLE … DISABLE and NO FORCE ROW LEVEL SECURITY, DROP POLICY"
        )
        return failure("row security", _listed(done), advice)
    return ok("row security", "none: every row is there for whoever may read the table")


def _differences(actual: dict[str, str], wanted: dict[str, str]) -> str:
    missing = [f"{name} is missing" for name in wanted if name not in actual]
    strange = [f"{name} is none of ours" for name in actual if name not in wanted]
    other = [f"{name} is another ({value})" for name, value in actual.items() if wanted.get(name, value) != value]
    return _listed([*missing, *strange, *other])


def _listed(things: list[str]) -> str:
    return _ARGUMENTS.sub("(…)", "; ".join(things))
