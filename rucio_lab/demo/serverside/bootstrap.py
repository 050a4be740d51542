"""Create the tables of an empty Rucio database, the base VO and the root account."""

from __future__ import annotations

from rucio.db.sqla.session import get_engine, wait_for_database
from rucio.db.sqla.util import build_database, create_base_vo, create_root_account
from sqlalchemy import inspect, text

if __name__ == "__main__":
    wait_for_database(timeout=20, interval=1)
    engine = get_engine()
    if engine.dialect.name == "sqlite":
        # without WAL nobody can sign in while replicas are listed: Rucio answers HTTP 500 after five seconds
        with engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))
    if not inspect(engine).has_table("alembic_version"):
        build_database()
        create_base_vo()
        create_root_account()
