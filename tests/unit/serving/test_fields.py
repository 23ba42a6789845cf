"""Fields that may be written to a challenger's connection, whatever a client sent."""

from __future__ import annotations

import pytest

from modelward_serving.observability.tracing import passed_on
from modelward_serving.protocol import fields
from modelward_serving.protocol.fields import UnsendableError

CONTROLS = [bytes((byte,)) for byte in (*range(0x20), 0x7F) if byte != 0x09]


def test_headers_are_written_as_a_line_each():
    assert fields.lines({b"tracestate": b"a=1,b=2", b"x": b""}) == b"tracestate: a=1,b=2\r\nx: \r\n"


@pytest.mark.parametrize("byte", [*CONTROLS, b"\x80", b"\xff"], ids=bytes.hex)
def test_no_value_with_this_byte_is_written_or_passed_on(byte):
    for value in (byte, b"a" + byte, byte + b"a", b"a" + byte + b"b", b"a\r\n " + byte):
        with pytest.raises(UnsendableError, match="value of tracestate"):
            fields.lines({b"tracestate": value})
        assert passed_on({b"tracestate": value, b"traceparent": b"p"}) == {b"traceparent": b"p"}


@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta", b"a\t"])
def test_no_value_with_spaces_around_it_is_written(value):
    with pytest.raises(UnsendableError):
        fields.lines({b"tracestate": value})


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a:", b"A", b"a\r\nb", b"a\0", b"\xe4", b"host", b"content-length", b"te"]
)
def test_no_name_that_ends_its_line_or_the_request_is_written(name):
    with pytest.raises(UnsendableError):
        fields.lines({name: b"1"})


def test_what_is_refused_is_not_repeated():
    with pytest.raises(UnsendableError) as caught:
        fields.lines({b"authorization": b"MARK\n"})
    assert "MARK" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "x", "/a b", "/a\r\nb", "/ä", "/a\0"])
def test_no_path_that_ends_its_line_is_written(path):
    with pytest.raises(UnsendableError):
        fields.beginning(path, "10.0.0.1:8080")


@pytest.mark.parametrize("host", ["", "a b", "a\r\nx: y", "ä"])
def test_no_host_that_ends_its_line_is_written(host):
    with pytest.raises(UnsendableError):
        fields.beginning("/v2", host)


@pytest.mark.parametrize("byte", CONTROLS, ids=bytes.hex)
def test_a_value_that_comes_with_this_byte_is_none(byte):
    assert not fields.are_of_values([b"a", b"a" + byte + b"b"])
    assert fields.are_of_values([b"a", b"", b"a b\tc", b"\xe4"])
