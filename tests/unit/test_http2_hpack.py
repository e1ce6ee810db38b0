"""Header blocks are read as hpack reads them, and in a time that their size bounds."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hpack import Decoder, Encoder, HPACKError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import example, given
from hypothesis import strategies as st

from pool_manager.core.http2_answers import BlockDecoder
from pool_manager.core.http2_frames import COMPRESSION_ERROR, ConnectionFault
from pool_manager.core.http2_hpack import HpackDecoder
from pool_manager.core.messages import Headers
from tests.support.http2 import string

Block: TypeAlias = tuple[Headers, int | None, bool]

NAMES = st.sampled_from([b"a", b"content-type", b"x-long-name", b":status", b"set-cookie", b""])
VALUES = st.binary(max_size=60) | st.sampled_from([b"200", b"text/html", b"x" * 3_000, b"y" * 5_000])
BLOCKS = st.lists(
    st.tuples(
        st.lists(st.tuples(NAMES, VALUES), max_size=8),
        st.none() | st.sampled_from([0, 50, 200, 4_096]),
        st.booleans(),
    ),
    max_size=8,
)


@given(blocks=BLOCKS)
def test_what_hpack_writes_is_read(blocks: list[Block]) -> None:
    """Tables stay equal over many blocks, whatever their size becomes, with and without Huffman's code."""
    encoder, decoder, kept = Encoder(), HpackDecoder(), BlockDecoder()
    for fields, size, huffman in blocks:
        if size is not None:
            encoder.header_table_size = size
        block = encoder.encode(fields, huffman=huffman)

        assert fields == decoder.decode(block)
        judged = kept.decode(block)
        assert [field for field in fields if not field[0].startswith(b":") and field[0]] == judged.headers
        assert sum(len(name) + len(value) + 32 for name, value in fields) == judged.size


# Pieces of blocks, so that what comes is often nearly right: indexes, sizes and halves of them; literals;
# tables of 4,096 bytes, and of one more; Huffman's code, whole and not.
SCRAPS = """
    88 be bf c0 80 20 21 7f 1082 ff00 ff808080 0f01
    4001610162 410163 00016400 7e7fff10
    3fe11f 3fe21f
    5f85497ca58ae8 0481ff 0482ffff
"""
PIECES = st.sampled_from([bytes.fromhex(scrap) for scrap in SCRAPS.split()])


@given(blocks=st.lists(st.lists(PIECES | st.binary(max_size=6), max_size=12).map(b"".join), max_size=6))
@example(blocks=[b"\x40\x01a" + string(b"x" * 5_000)])
@example(blocks=[b"\xff\x80\x80\x80\x80\x00"])
@example(blocks=[b"\xff\x80\x80\x80\x00"])
@example(blocks=[b"\x3f\xe1\x9f\x80\x00"])
@example(blocks=[b"\x3f\xe2\x1f"])
@example(blocks=[b"\x04\x7f\x80\x80\x80\x80\x00" + b"x" * 127])
@example(blocks=[b"\x04\x7f\x80\x80\x80\x80\x80\x00" + b"x" * 127])
@example(blocks=[b"\x04\x81\xff"])
@example(blocks=[b"\x04\x84\xff\xff\xff\xff"])
@example(blocks=[b"\x04\x85\xff\xff\xff\xff\x1f"])
def test_what_hpack_refuses_is_refused(blocks: list[bytes]) -> None:
    """Block for block the same fields as hpack, or an error where it has one."""
    judge, decoder = Decoder(2**20), HpackDecoder()
    for block in blocks:
        try:
            expected = [tuple(field) for field in judge.decode(block, raw=True)]
        except HPACKError:
            with pytest.raises(ConnectionFault) as caught:
                decoder.decode(block)
            assert caught.value.code == COMPRESSION_ERROR
            return
        assert expected == decoder.decode(block)


@given(st.binary(max_size=300))
def test_all_letters_of_the_code_are_known(text: bytes) -> None:
    """Huffman's code is undone, whatever the bytes."""
    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    size = string(bytes(len(coded)))[: -len(coded) or None]
    block = b"\x00\x01a" + bytes([size[0] | 0x80]) + size[1:] + coded

    assert [(b"a", text)] == HpackDecoder().decode(block)


def test_a_block_means_what_the_table_makes_of_it() -> None:
    """The same bytes mean another header when the table has changed between."""
    decoder = BlockDecoder()
    decoder.decode(b"\x40\x01a\x01b")
    first = decoder.decode(b"\x88\xbe")
    assert first.headers == [(b"a", b"b")]
    assert decoder.decode(b"\x88\xbe") is first
    decoder.decode(b"\x40\x01c\x01d")

    assert decoder.decode(b"\x88\xbe").headers == [(b"c", b"d")]
    decoder.decode(b"\x20\x3f\xe1\x1f")
    with pytest.raises(ConnectionFault):
        decoder.decode(b"\x88\xbe")


def test_a_block_that_changes_the_table_changes_it_each_time() -> None:
    """Only what left the table alone is looked up."""
    decoder = BlockDecoder()
    for count in range(1, 5):
        decoder.decode(b"\x40\x01a\x01b")
        assert decoder.decode(b"\xbe" + bytes([0xBD + count])).headers == [(b"a", b"b")] * 2


def test_blocks_are_not_kept_for_ever() -> None:
    """What is remembered of blocks is bounded."""
    decoder = BlockDecoder()
    for number in range(1_000):
        decoder.decode(b"\x00\x01a" + string(b"%d" % number))
    decoder.decode(b"\x00\x01a" + string(b"x" * 10_000))

    kept = decoder._kept  # noqa: SLF001 - there is no other way to see it
    assert len(kept) <= 64
    assert max(map(len, kept)) <= 2_048


class Counted(bytes):
    """A block that counts the bytes that are copied out of it."""

    copied = 0

    def __getitem__(self, at: object) -> object:  # type: ignore[override]
        """Count slices."""
        got = super().__getitem__(at)  # type: ignore[index]
        Counted.copied += len(got) if isinstance(got, bytes) else 0
        return got


def test_no_byte_of_a_block_is_copied_twice() -> None:
    """The cost of a block grows with its size, not with its square, as that of hpack does."""
    Counted.copied = 0
    fields = HpackDecoder().decode(Counted(b"\x04\x01a" * 10_000 + b"\x00\x01a" + string(b"z" * 100_000)))

    assert len(fields) == 10_001
    assert Counted.copied <= 10_000 + 100_001
