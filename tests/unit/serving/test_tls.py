"""Certificates over real connections: changed, withdrawn, broken, without a restart."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme

from modelward_serving.security.tls import Certificates, Files, UnusableFilesError
from tests.support.certificates import NAME, write


def files(folder, clients=False):
    client_authority = folder / "clients.crt" if clients else None
    return Files(folder / "tls.crt", folder / "tls.key", folder / "ca.crt", client_authority, NAME)


@asynccontextmanager
async def listening(certificates):
    async def answer(reader, writer):
        writer.write(await reader.read(1))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificates.server)
    async with server:
        yield server.sockets[0].getsockname()[1]


def client(ca, own=None, version=None):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    if own is not None:
        own.issue_cert("caller").configure_cert(context)
    if version is not None:
        context.maximum_version = version
    return context


async def ask(port, context, name=NAME):
    """One connection, one byte there and back; the server's certificate."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        try:
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            return writer.get_extra_info("peercert")
        finally:
            writer.close()


async def answers(port, context):
    try:
        return bool(await ask(port, context))
    except ssl.SSLError:
        return False


REFUSED = (ssl.SSLError, ConnectionError, AssertionError)


async def test_a_changed_certificate_serves_the_next_connection(tmp_path):
    first, second = trustme.CA(), trustme.CA()
    write(tmp_path, first)
    certificates = Certificates(files(tmp_path))
    async with listening(certificates) as port:
        before = await ask(port, client(first))
        assert not certificates.refresh()
        write(tmp_path, second)
        assert certificates.refresh()
        assert (await ask(port, client(second)))["serialNumber"] != before["serialNumber"]
        with pytest.raises(ssl.SSLError):
            await ask(port, client(first))


async def test_a_caller_that_names_no_server_gets_the_newest_certificate_too(tmp_path):
    first, second = trustme.CA(), trustme.CA()
    write(tmp_path, first)
    certificates = Certificates(files(tmp_path))
    async with listening(certificates) as port:
        write(tmp_path, second)
        certificates.refresh()
        nameless = client(second)
        nameless.check_hostname = False
        assert await ask(port, nameless, name="")


async def test_a_changed_certificate_is_noticed_by_itself(tmp_path):
    first, second = trustme.CA(), trustme.CA()
    write(tmp_path, first)
    certificates = Certificates(files(tmp_path))
    async with listening(certificates) as port:
        following = asyncio.create_task(certificates.follow(0.01))
        write(tmp_path, second)
        async with asyncio.timeout(5):
            while not await answers(port, client(second)):
                pass
        following.cancel()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_only_clients_of_the_authority_are_let_in_and_none_when_it_is_withdrawn(tmp_path, version):
    ca, ours, theirs = trustme.CA(), trustme.CA(), trustme.CA()
    write(tmp_path, ca, client_ca=ours)
    certificates = Certificates(files(tmp_path, clients=True))
    async with listening(certificates) as port:
        known = client(ca, ours, version)
        await ask(port, known)
        for stranger in (client(ca, None, version), client(ca, theirs, version)):
            with pytest.raises(REFUSED):
                await ask(port, stranger)
        theirs.cert_pem.write_to_path(tmp_path / "clients.crt")
        certificates.refresh()
        await ask(port, client(ca, theirs, version))
        for withdrawn in (known, client(ca, ours, version)):
            with pytest.raises(REFUSED):
                await ask(port, withdrawn)


async def test_files_that_do_not_fit_leave_the_certificate_before_in_force(tmp_path):
    ca = trustme.CA()
    write(tmp_path, ca)
    certificates = Certificates(files(tmp_path))
    async with listening(certificates) as port:
        for name, text in (("tls.key", b"broken"), ("tls.crt", b""), ("ca.crt", b"-----BEGIN")):
            (tmp_path / name).write_bytes(text)
            assert not certificates.refresh()
            await ask(port, client(ca))
        (tmp_path / "tls.crt").unlink()
        assert not certificates.refresh()
        write(tmp_path, ca)
        assert certificates.refresh()


async def test_a_challenger_is_believed_by_its_services_name_and_not_by_its_address(tmp_path):
    ca = trustme.CA()
    write(tmp_path, ca)
    certificates = Certificates(files(tmp_path))
    outgoing = certificates.outgoing()
    async with listening(certificates) as port:
        await ask(port, outgoing["ssl"], outgoing["server_hostname"])
        write(tmp_path, ca, "another.clinic.svc")
        certificates.refresh()
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, outgoing["ssl"], outgoing["server_hostname"])


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", "clients.crt"])
def test_a_file_that_is_missing_is_named(tmp_path, missing):
    write(tmp_path, trustme.CA())
    (tmp_path / missing).unlink()
    with pytest.raises(UnusableFilesError, match=missing) as told:
        Certificates(files(tmp_path, clients=True))
    assert told.value.reason == "TlsSecretMissing"


def test_a_key_of_another_certificate_is_told(tmp_path):
    write(tmp_path, trustme.CA())
    trustme.CA().issue_cert(NAME).private_key_pem.write_to_path(tmp_path / "tls.key")
    with pytest.raises(UnusableFilesError, match="not a certificate and its key") as told:
        Certificates(files(tmp_path))
    assert told.value.reason == "TlsSecretUnusable"
    assert "BEGIN" not in str(told.value)


def test_without_an_authority_the_systems_are_believed(tmp_path):
    write(tmp_path, trustme.CA())
    (tmp_path / "ca.crt").unlink()
    assert Certificates(files(tmp_path)).outgoing()["ssl"].verify_mode == ssl.CERT_REQUIRED
