"""Make the tables of an empty Rucio database, with the base VO and the root account."""

from __future__ import annotations

from rucio.db.sqla.session import get_engine, wait_for_database
from rucio.db.sqla.util import build_database, create_base_vo, create_root_account
from sqlalchemy import inspect

if __name__ == "__main__":
    wait_for_database(timeout=20, interval=1)
    if not inspect(get_engine()).has_table("alembic_version"):
        build_database()
        create_base_vo()
        create_root_account()
