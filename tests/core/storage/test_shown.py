"""Which credentials storages are shown, and what a refusal says."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest

from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.storage import shown
from tests.lake.issuer import AUDIENCE
from tests.lake.lake import FullLake
from tests.support.checks import instance_of
from tests.support.reading import instance_with, read, refusal, replica_of


@pytest.mark.parametrize("dataset", ["certificate", "token", "roots"])
def test_a_refusal_names_what_is_missing(lake: FullLake, dataset: str, tmp_path: Path) -> None:
    replica, content = replica_of(lake, dataset)
    said = str(refusal(replica, instance_with(lake), content))
    assert "no storage token is configured" in said
    assert "there is no X.509 proxy" in said
    wrong = tmp_path / "wrong-token"
    wrong.write_text(lake.issuer.token(forged=True, audience="https://other.example"))
    said = str(refusal(replica, instance_with(lake, token_file=str(wrong)), content))
    assert "refuses the storage token for https://other.example" in said
    expired = tmp_path / "expired-token"
    expired.write_text(lake.issuer.token(seconds=-5))
    said = str(refusal(replica, instance_with(lake, token_file=str(expired)), content))
    assert f"the storage token from {expired} expired at" in said
    for path in (wrong, expired):
        assert path.read_text() not in said


def test_a_private_ca_must_be_configured(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    replica, content = replica_of(lake, "https")
    with pytest.raises(StorageFailed, match="certificate that is not trusted here"):
        read(replica, instance_of(lake), content)
    read(replica, instance_with(lake), content)


def test_credentials_are_described_without_secrets(lake: FullLake, token_file: Path) -> None:
    proxy = str(lake.authority.proxy(lake.users["alice"], seconds=3600))
    facts = shown.describe(instance_with(lake, token_file=str(token_file), proxy=proxy))
    assert facts.token is not None
    assert (facts.token.audience, facts.token.issuer) == (AUDIENCE, lake.issuer.url)
    assert facts.proxy is not None
    assert facts.proxy.path == proxy
    assert "Alice Analyst" in facts.proxy.subject
    assert 0 < facts.proxy.expires.timestamp() - time.time() <= 3600
    assert str(lake.authority.ca) in facts.ca
    assert facts.problems == ()
    assert token_file.read_text().strip().encode() not in pickle.dumps(facts) + repr(facts).encode()


def test_problems_with_credentials_are_named(lake: FullLake, tmp_path: Path) -> None:
    expired = str(lake.authority.proxy(lake.users["alice"], seconds=-60))
    problems = shown.describe(instance_with(lake, token_file="/no/such", proxy=expired, ca="/no/ca")).problems
    assert len(problems) == 3
    assert "The storage token cannot be read from /no/such: No such file" in problems[0]
    assert "expired at" in problems[1]
    assert "/no/ca" in problems[2]
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("rubbish")
    for settings in ({"proxy": str(rubbish)}, {"ca": str(rubbish)}, {"proxy": str(lake.users["alice"].cert)}):
        (problem,) = shown.describe(instance_with(lake, **settings)).problems
        assert settings["ca" if "ca" in settings else "proxy"] in problem
