"""Downloads of DIDs from real storages: verified, resumed, and only into the chosen folder."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from rucio_lab.core.model import Request
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.storage import tls
from rucio_lab.core.transfer.download import download_resolution
from rucio_lab.core.transfer.outcome import Progress
from tests.lake.content import ESCAPING_NAMES, HOSTILE, HOSTILE_NAMES
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.checks import within
from tests.support.downloads import SCOPE, Configure, assert_whole, fetch, forked, gets, unavailable

pytestmark = pytest.mark.usefixtures("configure")


@pytest.mark.parametrize("scheme", ["root", "https", "http"])
def test_a_container_is_downloaded_once(lake: FullLake, base: Path, scheme: str) -> None:
    resolution = fetch("GamGam", schemes=(scheme,))
    assert_whole(resolution)
    assert resolution.total == len(resolution.files) == len(list(base.rglob("*.root")))
    for file in resolution.files:
        assert Path(file.url) == base / "test" / SCOPE / file.datasets[0].name / file.did.name
    sent = lake.storages[scheme].sent()
    with within(2):
        assert [file.url for file in fetch("GamGam", schemes=(scheme,)).files] == [f.url for f in resolution.files]
    assert lake.storages[scheme].sent() == sent
    assert not [path for path in base.rglob("*") if path.suffix == ".part"]


def test_a_mounted_file_is_copied(lake: FullLake, configure: Configure) -> None:
    configure(mounts={"NOTEBOOK-POSIX": lake.mount("NOTEBOOK-POSIX")})
    assert_whole(fetch("posix"))


def test_a_folder_of_the_users_choice_has_datasets_and_names(tmp_path: Path, base: Path) -> None:
    resolution = fetch("web", folder=str(tmp_path / "elsewhere"))
    assert_whole(resolution)
    assert resolution.files[0].url == str(tmp_path / "elsewhere" / "web" / "web._0001.root")
    assert not base.exists()


def test_storage_without_byte_ranges(lake: FullLake) -> None:
    assert_whole(fetch("no.range"))


def test_storage_that_requires_a_certificate(lake: FullLake, tmp_path: Path, configure: Configure) -> None:
    error = unavailable("certificate")
    assert "asks for credentials (HTTP 403)" in error.message
    alice, both = lake.users["alice"], tmp_path / "alice.pem"
    both.touch(0o600)
    both.write_bytes(alice.cert.read_bytes() + alice.key.read_bytes())
    configure(storage={"proxy": str(both)})
    assert_whole(fetch("certificate"))


@pytest.mark.parametrize("dataset", ["token", "door", "roots"])
def test_storages_that_require_a_token_and_no_other_gets_it(
    lake: FullLake, tmp_path: Path, configure: Configure, dataset: str
) -> None:
    assert "no storage token is configured" in unavailable(dataset).message
    (tmp_path / "token").write_text(lake.issuer.token())
    configure(storage={"token_file": str(tmp_path / "token"), "ca": str(lake.authority.ca)})
    behind = lake.storages["https"]
    assert isinstance(behind, Nginx)
    before = len(behind.requests())
    assert_whole(fetch(dataset))
    # the tokens' issuer is on that server, too: the storages ask it for its keys
    redirected = [line for line in behind.requests()[before:] if not line["path"].startswith("/issuer/")]
    assert bool(redirected) is (dataset == "door")
    assert {line["authorized"] for line in redirected} <= {"no"}


def test_an_untrusted_server_certificate(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(tls, "_contexts", {})
    error = unavailable("https")
    assert "has a certificate that is not trusted here" in error.message


def test_only_a_changed_file_is_fetched_again(lake: FullLake) -> None:
    resolution = fetch("data_A.GamGam", schemes=("http",))
    changed = Path(resolution.files[0].url)
    before = changed.read_bytes()
    changed.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    asked = gets(lake, "http")
    assert_whole(fetch("data_A.GamGam", schemes=("http",)))
    assert gets(lake, "http") == asked + 1


def test_a_correct_file_without_a_stamp_is_verified_but_not_fetched(lake: FullLake, tmp_path: Path) -> None:
    (tmp_path / "mine" / "web").mkdir(parents=True)
    target = tmp_path / "mine" / "web" / "web._0001.root"
    shutil.copyfile(lake.path("WEB-DISK", SCOPE, "web._0001.root"), target)
    asked = gets(lake, "http")
    assert_whole(fetch("web", folder=str(tmp_path / "mine")))
    assert gets(lake, "http") == asked


def test_a_file_that_was_not_downloaded_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "mine" / "web" / "web._0001.root"
    target.parent.mkdir(parents=True)
    target.write_text("my thesis")
    error = unavailable("web", folder=str(tmp_path / "mine"))
    assert "is another file, and was not downloaded by rucio-lab" in error.message
    assert target.read_text() == "my thesis"


def test_a_download_resumes_where_it_stopped(lake: FullLake, base: Path) -> None:
    whole = lake.path("FAULTY-HTTP", SCOPE, "faulty.http._0001.root").stat().st_size
    proxy = lake.faulty["http"]
    proxy.cut(whole // 2)
    assert "broke off after" in unavailable("faulty.http").message
    (part,) = base.rglob("*.part")
    kept = part.stat().st_size
    assert 0 < kept < whole
    proxy.forward()
    proxy.forget()
    assert_whole(fetch("faulty.http"))
    assert whole - kept <= proxy.sent < whole - kept + 2000  # plus the headers, and the answer to the probe
    assert not list(base.rglob("*.part"))


@pytest.mark.parametrize("scheme", ["root", "http"])
def test_a_replica_with_a_flipped_byte_is_named_and_another_one_used(lake: FullLake, scheme: str) -> None:
    name = "faulty.and.alive._0001.root"
    bad = lake.path("FAULTY-ROOT", SCOPE, name)
    content = bad.read_bytes()
    bad.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    try:
        resolution = fetch("faulty.and.alive", schemes=("root", "http"))
        assert_whole(resolution)
        (note,) = resolution.notes
        assert note.startswith("FAULTY-ROOT: root://127.0.0.1:")
        assert "has wrong bytes: their checksum is adler32:" in note
        assert f"{SCOPE}:{name}" in note
    finally:
        bad.write_bytes(content)


def test_dead_and_silent_rses_are_passed_over(lake: FullLake) -> None:
    with within(4):
        assert_whole(fetch("dead.and.alive", "silent.and.alive", schemes=("root", "http")))


def test_the_only_storage_fails_for_a_moment(lake: FullLake) -> None:
    fetch("web")  # opens connections
    proxy = lake.faulty["https"]
    resolution = resolve(Request((f"{SCOPE}:faulty.https",), "", access="download"))
    proxy.reset()
    threading.Timer(0.3, proxy.forward).start()
    assert_whole(download_resolution(resolution))


def test_a_failed_file_does_not_stop_the_others(lake: FullLake, base: Path) -> None:
    error = unavailable("unavailable", "web", "posix")
    assert "4 of 5 files could not be downloaded" in error.message
    assert set(error.reasons) == {f"{SCOPE}:unavailable._000{n}.root" for n in (1, 2, 3)} | {
        f"{SCOPE}:posix._0001.root"
    }
    assert (base / "test" / SCOPE / "web" / "web._0001.root").is_file()
    rest = fetch("unavailable", "web", allow_missing=True)
    assert [file.did.name for file in rest.files] == ["web._0001.root"]
    assert len(rest.missing) == 3


def test_hostile_names_stay_in_the_folder(lake: FullLake, base: Path) -> None:
    resolution = fetch("all", scope=HOSTILE, schemes=("root",), allow_missing=True)
    names = {file.did.name.removesuffix(".root") for file in resolution.files}
    assert names >= {name for name in HOSTILE_NAMES if "?" not in name and "#" not in name}
    assert_whole(resolution)
    for file in resolution.files:
        assert Path(file.url).resolve().parent == base / "test" / HOSTILE / "all"
    assert not Path("/tmp/escape").exists()
    assert not Path("/tmp/escape.root").exists()
    assert {did.name for did in resolution.missing} >= {f"{name}.root" for name in ESCAPING_NAMES}


def test_several_processes_fetch_the_same_files_only_once(lake: FullLake, base: Path) -> None:
    resolution = resolve(Request((f"{SCOPE}:GamGam.MC",), "", access="download", schemes=("http",)))
    asked = gets(lake, "http")
    children = [forked(lambda: download_resolution(resolution) and None) for _ in range(3)]
    for child in children:
        os.waitpid(child, 0)
    assert gets(lake, "http") - asked == len(resolution.files)
    assert_whole(download_resolution(resolution))
    assert gets(lake, "http") - asked == len(resolution.files)


def test_an_interrupt_takes_effect_quickly_and_loses_nothing(lake: FullLake, base: Path) -> None:
    proxy = lake.faulty["http"]
    resolution = resolve(Request((f"{SCOPE}:faulty.http",), "", access="download"))
    proxy.silent()

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with within(2), pytest.raises(KeyboardInterrupt):
        download_resolution(resolution, interrupt)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    proxy.forward()
    assert_whole(download_resolution(resolution))
