import base64
import gzip
import json
import zlib
from urllib.parse import quote, quote_plus

import orjson
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from pqlapp import parser
from pqlapp.parser import Refused, Rejected

GOOD = b'{"type":"track","event":"File Uploaded","userId":"ann","properties":{"size":3,"tags":["a","b"]}}'

# Each poison is one item of a batch whose brackets are in order, and the code it is rejected with.
POISONS = {
    "NUL in a value": (rb'{"event":"a\u0000b"}', "nul_character"),
    "NUL in a name": (rb'{"a\u0000b":1}', "nul_character"),
    "NUL deep inside": (rb'{"properties":{"list":[{"x":"\u0000"}]}}', "nul_character"),
    "half a surrogate pair": (rb'{"event":"\ud800"}', "lone_surrogate"),
    "the other half": (rb'{"event":"x\udfffy"}', "lone_surrogate"),
    "half a pair in a name": (rb'{"\ud800":1}', "lone_surrogate"),
    "half a pair in CESU-8": (b'{"event":"\xed\xa0\xbd"}', "not_utf8"),
    "a pair in CESU-8, the wrong way round": (b'{"event":"\xed\xb8\x80\xed\xa0\xbd"}', "not_utf8"),
    "Latin-1": (b'{"event":"caf\xe9"}', "not_utf8"),
    "infinity": (b'{"properties":{"x":1e400}}', "number_too_large"),
    "minus infinity": (b'{"properties":{"x":-1e400}}', "number_too_large"),
    "400 digits": (b'{"properties":{"x":' + b"7" * 400 + b"}}", "number_too_large"),
    "5000 digits": (b'{"properties":{"x":' + b"7" * 5000 + b"}}", "number_too_large"),
    "30 digits, which the library rounds": (b'{"x":' + b"7" * 30 + b"}", "number_too_large"),
    "2^53 + 1": (b'{"x":9007199254740993}', "number_too_large"),
    "-2^53 - 2": (b'{"x":[-9007199254740994]}', "number_too_large"),
    "NaN": (b'{"x":NaN}', "bad_json"),
    "a name without quotes": (b'{"x":1,y:2}', "bad_json"),
    "a number as a name": (b"{1:2}", "bad_json"),
    "single quotes": (b"{'x':1}", "bad_json"),
    "a raw line break in a text": (b'{"x":"a\nb"}', "bad_json"),
    "nothing": (b"", "bad_json"),
    "a word": (b"undefined", "bad_json"),
    "nested 33 levels": (b'{"x":' * 33 + b"1" + b"}" * 33, "too_deep"),
    "nested 2000 levels": (b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}", "too_deep"),
    "nested 100000 levels": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    "a list": (b"[1,2]", "not_an_object"),
    "a number": (b"17", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "a text with brackets": (rb'"}]\"["', "not_an_object"),
    "too large": (b'{"x":"' + b"a" * 900_000 + b'"}', "item_too_large"),
}


def codes(batch: parser.Batch) -> list[str | None]:
    return [item.code if isinstance(item, Rejected) else None for item in batch.items]


class TestParseBatch:
    def test_returns_items_and_what_stood_around_them(self):
        batch = parser.parse_batch(body=b'{"sentAt":"now","batch":[' + GOOD + b'],"writeKey":"k"}', field="batch")
        assert batch.items == [orjson.loads(GOOD)]
        assert batch.envelope == {"sentAt": "now", "writeKey": "k"}

    def test_takes_a_bare_list(self):
        assert len(parser.parse_batch(body=b"[%s,%s]" % (GOOD, GOOD), field="events").items) == 2

    def test_takes_a_byte_order_mark_and_an_empty_list(self):
        assert parser.parse_batch(body=b'\xef\xbb\xbf{"batch":[]}', field="batch").items == []

    @pytest.mark.parametrize("name", POISONS)
    def test_poison_alone_is_rejected_and_its_neighbours_are_not(self, name):
        poison, code = POISONS[name]
        body = b'{"batch": [%s , %s,%s],"sentAt":"2026-05-01"}' % (GOOD, poison, GOOD)
        batch = parser.parse_batch(body=body, field="batch")
        assert codes(batch) == [None, code, None]
        assert batch.items[0] == batch.items[2] == orjson.loads(GOOD)
        assert batch.envelope == {"sentAt": "2026-05-01"}

    def test_takes_a_lone_object_as_the_only_item(self):
        assert parser.parse_batch(body=GOOD, field="batch", alone=True).items == [orjson.loads(GOOD)]

    def test_gives_a_broken_lone_object_its_own_reason(self):
        assert codes(parser.parse_batch(body=b'{"x":1e400}', field="batch", alone=True)) == ["number_too_large"]

    @pytest.mark.parametrize("name", POISONS)
    def test_poison_in_a_bare_list_is_rejected_alone(self, name):
        poison, code = POISONS[name]
        assert codes(parser.parse_batch(body=b"[%s,%s]" % (GOOD, poison), field="x")) == [None, code]

    def test_poisons_mixed_one_to_fifty_leave_all_good_items(self):
        texts, expected = [], []
        for poison, code in POISONS.values():
            texts += [GOOD] * 25 + [poison] + [GOOD] * 25
            expected += [None] * 25 + [code] + [None] * 25
        batch = parser.parse_batch(body=b'{"batch":[' + b",\n".join(texts) + b"]}", field="batch")
        assert codes(batch) == expected

    @pytest.mark.parametrize(
        "edge",
        [
            b'{"x":9007199254740992}',
            b'{"x":"\\\\u0000"}',
            b'{"x":' * 32 + b"1" + b"}" * 32,
            b'{"x":1e-400}',
            b'{"x":"\\ud83d\\ude00"}',
            b'{"a":1,"a":2}',
            b"{}",
            b'{"":""}',
            b'{"x":1e15}',
        ],
    )
    def test_what_is_just_inside_the_limits_is_taken(self, edge):
        assert codes(parser.parse_batch(body=b"[%s]" % edge, field="batch")) == [None]

    def test_a_pair_of_surrogates_is_one_character_beside_poison_too(self):
        batch = parser.parse_batch(body=rb'[{"x":"\ud83d\ude00"},{"x":"\ud83d"}]', field="batch")
        assert batch.items[0] == {"x": "\U0001f600"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"{",
            b"[",
            b"]",
            b'"',
            b'{"batch":[{"a":1},{"b":',
            b'{"batch":[{"a":1]}}',
            b'{"batch":[NaN]} x',
            b'{"batch":[NaN]}{"batch":[1]}',
            b'{"batch":[{"x":"\\ud800}]}',
            b'{"batch" [NaN]}',
            b"\x00",
            b"hello",
            b'{"batch":[NaN],"sentAt":NaN}',
            b'{"batch":[{}],"sentAt":"\\u0000"}',
            b'{"batch":[NaN],"\\ud800":1}',
        ],
    )
    def test_a_body_that_is_no_json_as_a_whole_is_refused(self, body):
        with pytest.raises(Refused) as refused:
            parser.parse_batch(body=body, field="batch")
        assert refused.value.status == 400

    @pytest.mark.parametrize("body", [b"{}", b'{"batch":{}}', b'{"batch":{"a":NaN}}', b'"x"', b"1", b'{"x":[NaN]}'])
    def test_a_body_without_a_list_is_refused(self, body):
        with pytest.raises(Refused) as refused:
            parser.parse_batch(body=body, field="batch")
        assert (refused.value.status, refused.value.code) == (400, "no_items")

    @pytest.mark.parametrize("poison", [b"{}", b"NaN"])
    def test_too_many_items_are_refused(self, poison):
        assert len(parser.parse_batch(body=b"[" + b",".join([poison] * 2000) + b"]", field="batch").items) == 2000
        with pytest.raises(Refused) as refused:
            parser.parse_batch(body=b"[" + b",".join([poison] * 2001) + b"]", field="batch")
        assert (refused.value.status, refused.value.code) == (413, "too_many_items")

    def test_too_many_values_are_refused_before_they_take_memory(self):
        with pytest.raises(Refused) as refused:
            parser.parse_batch(body=b"[" + b"[]," * 600_000 + b"[]]", field="batch")
        assert (refused.value.status, refused.value.code) == (413, "too_many_values")

    def test_an_unclosed_text_is_found_in_linear_time(self):
        with pytest.raises(Refused):
            parser.parse_batch(body=b'[{"x":' + b'"\\' * 1_500_000, field="batch")

    @given(st.binary(max_size=200))
    def test_any_bytes_are_taken_or_refused(self, body):
        try:
            parser.parse_batch(body=body, field="batch")
        except Refused as refused:
            assert refused.status in (400, 413)

    @given(st.lists(st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b'"batch"', b"NaN", b"1"])))
    def test_any_json_like_bytes_are_taken_or_refused(self, tokens):
        try:
            parser.parse_batch(body=b"".join(tokens), field="batch")
        except Refused as refused:
            assert refused.status == 400

    @settings(max_examples=50)
    @given(
        st.lists(
            st.dictionaries(
                st.text(st.characters(exclude_characters="\0", codec="utf-8")),
                st.recursive(
                    st.none()
                    | st.booleans()
                    | st.integers(-(2**53), 2**53)
                    | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
                    lambda children: st.lists(children) | st.dictionaries(st.just("k"), children),
                    max_leaves=8,
                ),
            ),
            max_size=5,
        )
    )
    def test_good_items_are_read_the_same_with_poison_among_them(self, items):
        texts = [orjson.dumps(item) for item in items]
        with_poison = b'{"batch":[' + b",".join([*texts, b"NaN", *texts]) + b"]}"
        batch = parser.parse_batch(body=with_poison, field="batch")
        assert batch.items[: len(items)] == batch.items[len(items) + 1 :] == items


EMOJI = "\N{PARTY POPPER}"
IN_CESU_8 = b'{"event":"\xed\xa0\xbc\xed\xbe\x89"}'


class TestCharactersInTwoHalves:
    def test_are_put_together_in_an_item_and_in_a_batch(self):
        assert b"\xed" in IN_CESU_8
        assert parser.parse_call(body=IN_CESU_8) == {"event": EMOJI}
        assert parser.parse_batch(body=b"[" + IN_CESU_8 + b"]", field="batch").items == [{"event": EMOJI}]

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_other_text_stays_as_it_is(self, text):
        if "\0" not in text:
            assert parser.parse_call(body=json.dumps({"x": text}, ensure_ascii=False).encode()) == {"x": text}


class TestFromForm:
    @pytest.mark.parametrize("before", ["", "verbose=1&ip=0&"])
    @pytest.mark.parametrize(
        "data",
        [
            quote(GOOD),
            quote_plus(GOOD),
            quote(base64.b64encode(GOOD)),
            base64.b64encode(GOOD).decode(),
            base64.urlsafe_b64encode(GOOD).decode().rstrip("="),
            quote(base64.b64encode(gzip.compress(GOOD))),
        ],
    )
    def test_finds_the_json(self, before, data):
        body, fields = parser.from_form(body=f"{before}data={data}&strict=1".encode())
        assert body == GOOD
        assert fields == ({"verbose": "1", "ip": "0"} if before else {}) | {"strict": "1"}

    def test_takes_a_plus_that_was_not_escaped(self):
        plain = b'{"x":">>>"}'
        assert b"+" in base64.b64encode(plain)
        assert parser.from_form(body=b"data=" + base64.b64encode(plain))[0] == plain

    def test_mends_an_emoji_that_came_in_two_halves(self):
        body, _ = parser.from_form(body=b"data=" + base64.b64encode(IN_CESU_8))
        assert parser.parse_call(body=body) == {"event": EMOJI}

    @pytest.mark.parametrize("body", [GOOD, b"[" + GOOD + b"]", b"", b"x", b'{"x":"&data=1"}', b"[&data="])
    def test_leaves_what_is_no_form(self, body):
        assert parser.from_form(body=body) == (body, {})

    def test_refuses_what_is_neither_json_nor_base64(self):
        with pytest.raises(Refused) as refused:
            parser.from_form(body=b"data=%%%")
        assert (refused.value.status, refused.value.code) == (400, "bad_base64")

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_refused(self, data):
        try:
            parser.from_form(body=b"data=" + data)
        except Refused as refused:
            assert refused.status in (400, 413)


class TestParseCall:
    def test_returns_the_object(self):
        assert parser.parse_call(body=GOOD) == orjson.loads(GOOD)

    @pytest.mark.parametrize("name", POISONS)
    def test_refuses_poison_with_its_code(self, name):
        poison, code = POISONS[name]
        with pytest.raises(Refused) as refused:
            parser.parse_call(body=poison)
        assert refused.value.code == code
        assert refused.value.status == (413 if code == "item_too_large" else 400)

    @given(st.binary(max_size=100) | st.text().map(lambda text: json.dumps({text: text}).encode()))
    def test_any_bytes_are_taken_or_refused(self, body):
        try:
            assert isinstance(parser.parse_call(body=body), dict)
        except Refused as refused:
            assert refused.status in (400, 413)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


class TestUnpack:
    @pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "br", "nonsense"])
    def test_knows_gzip_and_zlib_by_their_first_bytes(self, encoding):
        assert parser.unpack(sent=gzip.compress(GOOD), encoding=encoding) == GOOD
        assert parser.unpack(sent=zlib.compress(GOOD), encoding=encoding) == GOOD
        assert parser.unpack(sent=GOOD, encoding=encoding) == GOOD

    @pytest.mark.parametrize("encoding", ["", "zstd", "gzip"])
    def test_knows_zstd_by_its_first_bytes(self, encoding):
        assert parser.unpack(sent=zstd.compress(GOOD), encoding=encoding) == GOOD

    def test_takes_raw_deflate_by_its_header(self):
        assert parser.unpack(sent=raw_deflate(GOOD), encoding="deflate") == GOOD

    @pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate, zstd.compress])
    def test_refuses_a_bomb_without_unpacking_it(self, pack):
        bomb = pack(b" " * (parser.UNPACKED_LIMIT + 1))
        assert len(bomb) < 100_000
        with pytest.raises(Refused) as refused:
            parser.unpack(sent=bomb, encoding="deflate")
        assert (refused.value.status, refused.value.code) == (413, "body_too_large")

    def test_takes_exactly_the_limit(self):
        exact = b" " * parser.UNPACKED_LIMIT
        assert len(parser.unpack(sent=gzip.compress(exact, 1))) == parser.UNPACKED_LIMIT

    def test_refuses_what_is_too_large_as_sent(self):
        with pytest.raises(Refused) as refused:
            parser.unpack(sent=b" " * (parser.SENT_LIMIT + 1))
        assert refused.value.status == 413

    @pytest.mark.parametrize(
        "broken",
        [
            gzip.compress(GOOD)[:-3],
            b"\x1f\x8b",
            b"\x1f\x8bnonsense",
            gzip.compress(GOOD) + b"x",
            zstd.compress(GOOD)[:-3],
            b"\x28\xb5\x2f\xfdnonsense",
        ],
    )
    def test_refuses_what_is_broken(self, broken):
        with pytest.raises(Refused) as refused:
            parser.unpack(sent=broken)
        assert (refused.value.status, refused.value.code) == (400, "bad_compression")

    @given(st.binary(max_size=200), st.sampled_from(["", "gzip", "deflate"]))
    def test_any_bytes_are_unpacked_or_refused(self, sent, encoding):
        marked = (b"\x1f\x8b" + sent, b"\x78\x9c" + sent, b"\x28\xb5\x2f\xfd" + sent)
        for data in (sent, *marked, gzip.compress(sent), zstd.compress(sent)):
            try:
                parser.unpack(sent=data, encoding=encoding)
            except Refused as refused:
                assert refused.status in (400, 413)
