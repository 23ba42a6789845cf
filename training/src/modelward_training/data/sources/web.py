"""https: files at web servers.

Whoever writes an address must not reach what only the cluster can reach. So every address of the host's name must be public, the
connection goes to an address that was checked, and a redirect is not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from modelward_api.names import PRIVATE_HOSTS_VARIABLE
from modelward_api.resources.reasons import Reason
from modelward_api.store import SILENT, UNTRUSTED, InvalidAddressError, shown
from modelward_training.errors import StoreError

TIMEOUT = 60.0
"""Seconds without a byte."""
_INTERNAL = (".svc", ".cluster.local", ".local", ".internal", ".localhost")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def blocks(address: str, size: int, environ: Mapping[str, str] = os.environ) -> Iterator[bytes]:
    """Read a file.

    Raises:
        InvalidAddressError: the address cannot be, the host is private, the server redirects, or it tells no length.
        FileNotFoundError: the server has no such file.
        StoreError: the server does not answer, refuses, or sends only a part.
    """
    where = shown(address)
    host, port, path = _split(address, where)
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT)
    try:
        connection.sock = _connected(host, port, where, environ)
        connection.request("GET", path, headers={"Accept-Encoding": "identity", "User-Agent": "modelward"})
        response = connection.getresponse()
        _check(response.status, where)
        if response.length is None and not response.chunked:
            raise InvalidAddressError(
                f"{where}: the server does not say how long the file is (Content-Length), so a part of it could be taken for "
                "the whole: copy the file into the store"
            )
        wanted, given = response.getheader("Content-Length"), 0
        while block := response.read(size):
            given += len(block)
            yield block
        if wanted is not None and wanted.isdecimal() and int(wanted) != given:
            raise _unavailable(where, "the server sent only a part of the file")
    except http.client.HTTPException:
        raise _unavailable(where, "the server did not send a complete and valid response") from None
    except ssl.SSLCertVerificationError:
        raise StoreError(Reason.STORE_CERTIFICATE_UNTRUSTED, f"{where}: {UNTRUSTED}. Set pod.caBundle") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            Reason.STORE_UNREACHABLE, f"{where}: {SILENT}. Check the address and NetworkPolicies; proxies are not used"
        ) from None
    finally:
        connection.close()


def _split(address: str, where: str) -> tuple[str, int, str]:
    """Return host, port and path."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or 443
        host.encode("idna")
        parts.path.encode("ascii")
    except ValueError:
        raise InvalidAddressError(
            f"{where}: must be https://HOST/PATH with a valid host, a port of at most 65535, and %XX for letters other than ASCII"
        ) from None
    return host, port, parts.path


def is_public(address: Address) -> bool:
    """Return whether an address, also one inside another, is of the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(is_public(each) for each in inner if each is not None):
            return False
        if address.ipv4_mapped is not None or address in _NAT64:
            return True
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_host(host: str, addresses: list[str], where: str, environ: Mapping[str, str]) -> None:
    """Refuse a host that is not public, unless the chart allows it.

    Raises:
        InvalidAddressError
    """
    name = host.lower().rstrip(".")
    if name in {allowed.strip().lower() for allowed in environ.get(PRIVATE_HOSTS_VARIABLE, "").split(",")}:
        return
    is_literal = name.replace(".", "").isdecimal() or ":" in name
    is_internal = name.endswith(_INTERNAL) or ("." not in name and not is_literal)
    found = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    of_cluster = {environ.get("KUBERNETES_SERVICE_HOST")}
    if is_internal or not all(is_public(each) and str(each) not in of_cluster for each in found):
        raise InvalidAddressError(
            f"{where}: the host is not public (private, loopback, link-local or of the cluster): copy the file into the store, "
            "or list the host in the chart's sources.privateHosts"
        )


def _connected(host: str, port: int, where: str, environ: Mapping[str, str]) -> ssl.SSLSocket:
    """Connect to an address of the host that was checked."""
    check_host(host, [], where, environ)  # a name of the cluster is not even looked up
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    check_host(host, addresses, where, environ)
    last: OSError = OSError()
    for address in addresses:
        try:
            plain = socket.create_connection((address, port), timeout=TIMEOUT)
        except OSError as error:
            last = error
            continue
        try:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
    raise last


def _check(status: int, where: str) -> None:
    if status in (301, 302, 303, 307, 308):
        raise InvalidAddressError(
            f"{where}: the server redirects, which is not followed: declare the address of the file itself"
        )
    if status in (404, 410):
        raise FileNotFoundError
    if status in (401, 403, 407):
        message = f"{where}: the server wants credentials, which addresses cannot have: copy the file into the store"
        raise StoreError(Reason.STORE_ACCESS_DENIED, message)
    if status != 200:
        raise _unavailable(where, f"the server answered with status {status}")


def _unavailable(where: str, why: str) -> StoreError:
    return StoreError(Reason.STORE_UNAVAILABLE, f"{where} cannot be used now: {why}")
