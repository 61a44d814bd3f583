"""What the scripts of a lab share: their command line, the connection, and what is said of the sample data."""

from __future__ import annotations

import argparse
import json

import psycopg2
from psycopg2 import sql


class NotSampleDataError(Exception):
    """The database holds rows that are not sample data, or is no lab's."""


def parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the options that say where the database is."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--host", default="/run/postgresql", help="directory of the server's socket")
    made.add_argument("--port", type=int, default=5432)
    made.add_argument("--database", default="mltrading")
    made.add_argument("--user", default="postgres", help="a superuser, who acts as the owner")
    made.add_argument("--owner", default="mltrading_owner", help="the owner of the tables")
    return made


def connect(options: argparse.Namespace, name: str, **settings: str) -> psycopg2.extensions.connection:
    """Connect as the owner of the tables, in UTC and with further settings, under the name of a script."""
    connection = psycopg2.connect(
        host=options.host,
        port=options.port,
        dbname=options.database,
        user=options.user,
        application_name=name,
        client_encoding="UTF8",
        options=" ".join(f"-c {key}={value}" for key, value in {"TimeZone": "UTC", **settings}.items()),
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(options.owner)))
    return connection


def loaded(cursor: psycopg2.extensions.cursor) -> dict:
    """Return what the database says of its sample data, {} where there is none."""
    cursor.execute("SELECT obj_description(to_regnamespace('mltrading_lab'), 'pg_namespace')")
    return json.loads(cursor.fetchone()[0] or "{}")
