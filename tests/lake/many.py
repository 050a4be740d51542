"""Datasets of very many files that are only registered: written to Rucio's database directly, within seconds."""

from __future__ import annotations

from collections.abc import Sequence

from rucio_lab.demo.content import SCOPE

_DID_COLUMNS = (
    "account, did_type, monotonic, hidden, obsolete, is_new, availability, suppressed, purge_replicas, transient"
)


def statements(name: str, numbers: range, rses: Sequence[str], template: str) -> list[str]:
    """Return SQL for SQLite and PostgreSQL that fills a dataset.

    Parameters
    ----------
    name
        Name of the dataset, which exists.
    numbers
        Numbers of the files; their names are ``NAME._000000.root`` and so on.
    rses
        RSEs that have a replica of every file.
    template
        Name of an existing file; the new ones are copies of it, except for name, size and checksum.
    """
    counted = f"WITH RECURSIVE n(i) AS (SELECT {numbers[0]} UNION ALL SELECT i + 1 FROM n WHERE i < {numbers[-1]})"
    file = f"'{name}._' || substr(CAST(1000000 + i AS VARCHAR(7)), 2) || '.root'"
    adler = "substr(CAST(100000000 + i AS VARCHAR(9)), 2)"
    of_file = f"FROM n, dids d WHERE d.scope = '{SCOPE}' AND d.name = '{template}'"
    of_dataset = f"FROM n, dids d WHERE d.scope = '{SCOPE}' AND d.name = '{name}'"
    some = [
        f"INSERT INTO dids (scope, name, bytes, adler32, {_DID_COLUMNS}, created_at, updated_at) {counted} "
        f"SELECT d.scope, {file}, 1000000 + i, {adler}, {_DID_COLUMNS}, d.created_at, d.updated_at {of_file}",
        "INSERT INTO contents (scope, name, child_scope, child_name, did_type, child_type, bytes, adler32, "
        f"rule_evaluation, created_at, updated_at) {counted} "
        f"SELECT d.scope, d.name, d.scope, {file}, 'D', 'F', 1000000 + i, {adler}, d.monotonic, d.created_at, "
        f"d.updated_at {of_dataset}",
    ]
    some += [
        "INSERT INTO replicas (rse_id, scope, name, bytes, adler32, state, lock_cnt, created_at, updated_at) "
        f"{counted} SELECT (SELECT id FROM rses WHERE rse = '{rse}'), d.scope, {file}, 1000000 + i, {adler}, "
        f"'A', 0, d.created_at, d.updated_at {of_dataset}"
        for rse in rses
    ]
    return some
