"""Missing Debian packages are reported."""

from __future__ import annotations

import pytest

from tests.lake import packages


def test_missing_packages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    packages.require_packages()
    gone = packages.Package("no-such-package", "no-such-program", "serves nothing")
    monkeypatch.setattr(packages, "PACKAGES", (*packages.PACKAGES, gone))
    with pytest.raises(packages.PackagesMissingError, match="no-such-package"):
        packages.require_packages()


def test_postgresql_is_needed_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "POSTGRESQL", packages.Package("no-such-package", "no-such-program", "the database"))
    monkeypatch.delenv("RUCIO_LAB_TEST_DATABASE", raising=False)
    assert not packages.missing_packages()
    monkeypatch.setenv("RUCIO_LAB_TEST_DATABASE", "postgresql")
    assert [package.name for package in packages.missing_packages()] == ["no-such-package"]
    monkeypatch.setenv("RUCIO_LAB_TEST_DATABASE", "postgres")
    with pytest.raises(ValueError, match=r"'postgres'.*postgresql"):
        packages.missing_packages()
