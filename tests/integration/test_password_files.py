"""A password file of the roles, read by libpq itself before a server that asks for the password."""

import contextlib
import importlib.util
from pathlib import Path

import psycopg2
import pytest
from servers import running

SPEC = importlib.util.spec_from_file_location("passfile", Path(__file__).parents[2] / "plugins/filter/passfile.py")
assert SPEC is not None
assert SPEC.loader is not None
passfile = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(passfile)


PASSWORDS = [r"with\backslash\\es 20", "with:colons::twenty:", r"\:both\:\\:of:them\:", "ends in a backslash \\"]


def test_libpq_reads_the_password_that_was_meant(tmp_path: Path) -> None:
    with running(15, folder="passfile", listen_addresses="127.0.0.1") as server:
        (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_reload_conf()")
            for password in PASSWORDS:
                cursor.execute("ALTER ROLE owner PASSWORD %s", (password,))
                file = tmp_path / "pgpass"
                file.write_text(passfile.pgpass_line(password, "127.0.0.1", server.port, "*", "owner") + "\n")
                file.chmod(0o600)
                found = psycopg2.connect(
                    host="127.0.0.1", port=server.port, user="owner", dbname="postgres", passfile=str(file)
                )
                found.close()
                with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                    psycopg2.connect(
                        host="127.0.0.1", port=server.port, user="owner", dbname="postgres", password=password + "x"
                    )
