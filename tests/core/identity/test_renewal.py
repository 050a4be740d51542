"""Expired tokens: renewed only once, by one thread, or a clear error."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.errors import SignInNeeded
from rucio_lab.core.identity.client import client_for
from rucio_lab.core.identity.signing_in import sign_in, sign_out
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, instance_of
from tests.support.middle import Middle
from tests.support.sign_ins import store, stored, who


@pytest.mark.parametrize("lives", [3600, -1], ids=["invalid", "expired"])
def test_an_expired_token_is_renewed(middle: Middle, lake: FullLake, lives: float) -> None:
    instance = instance_of(lake, url=middle.url)
    store(instance, "not-a-token", lives=lives)
    assert who(instance) == "alice"
    assert stored(instance) in middle.tokens
    assert middle.count("/auth/userpass") == 1


@pytest.mark.parametrize("lives", [3600, -1], ids=["invalid", "expired"])
def test_an_expired_token_that_cannot_be_renewed(lake: FullLake, lives: float) -> None:
    instance = instance_of(lake, rucio_cfg="")
    store(instance, "not-a-token", lives=lives)
    with pytest.raises(SignInNeeded, match="Your sign-in to test has expired") as caught:
        Lake(instance).scopes()
    assert_clear(caught.value)
    assert "rucio_login" in caught.value.remedy


def test_a_sign_in_that_expires_while_a_client_works(middle: Middle, lake: FullLake) -> None:
    """The client stays the same; its token does not."""
    instance = instance_of(lake, url=middle.url)
    client = client_for(instance)
    store(instance, "not-a-token")
    assert client_for(instance) is client
    assert Lake(instance).scopes()
    assert middle.count("/auth/userpass") == 2


def test_renewal_is_single_flight(middle: Middle, lake: FullLake) -> None:
    instance = instance_of(lake, url=middle.url)
    store(instance, "not-a-token")
    start = threading.Barrier(16)

    def work(_: int) -> str:
        client = client_for(instance)
        start.wait()
        return str(client.whoami()["account"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(16))) == ["alice"] * 16
    assert middle.count("/auth/userpass") == 1


def test_a_rejected_password_is_not_tried_over_and_over(middle: Middle, lake: FullLake) -> None:
    """That would lock the account."""
    instance = instance_of(lake, url=middle.url, rucio_cfg=str(lake.rucio_cfg(password="wrong-pass")))
    store(instance, "not-a-token")
    with pytest.raises(SignInNeeded, match="refused"):
        Lake(instance).scopes()
    assert middle.count("/auth/userpass") == 1


def test_another_sign_in_is_noticed(lake: FullLake) -> None:
    """As when somebody signs in again in the sidebar, another process, while a kernel works."""
    instance = instance_of(lake)
    assert who(instance) == "alice"
    token = lake.token("alice")
    store(instance, token)
    assert who(instance) == "alice"
    assert client_for(instance).auth_token == token
    bob = instance_of(lake, rucio_cfg="", account="", username="bob")
    sign_in(bob, password="bob-pass")
    sign_out(bob)
    with pytest.raises(SignInNeeded):
        who(bob)
