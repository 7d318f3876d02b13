import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

/** Input as a BEP writes it: one character a byte. */
const bytes = Bytes.fromLatin1Unsafe

const decoded = (text: string, options?: Bencode.DecodeOptions) =>
  Result.getOrThrow(Bencode.decode(bytes(text), options))

const value = (text: string) => decoded(text).value

/** The error's `why`, with its offset in front: `7: an integer has no digits`. */
const refusal = (text: string, options?: Bencode.DecodeOptions): string =>
  Result.match(Bencode.decode(bytes(text), options), {
    onSuccess: ({ value }) => assert.fail(`${text} was taken for ${String(value)}`),
    onFailure: ({ offset, why }) => `${offset}: ${why}`
  })

describe("Bencode.decode", () => {
  it("reads the examples of BEP 3", () => {
    assert.deepStrictEqual(value("4:spam"), bytes("spam"))
    assert.strictEqual(value("i3e"), 3)
    assert.strictEqual(value("i-3e"), -3)
    assert.strictEqual(value("i0e"), 0)
    assert.deepStrictEqual(value("l4:spam4:eggse"), [bytes("spam"), bytes("eggs")])
    assert.deepStrictEqual(
      value("d3:cow3:moo4:spam4:eggse"),
      new Map([
        ["cow", bytes("moo")],
        ["spam", bytes("eggs")]
      ])
    )
    assert.deepStrictEqual(value("d4:spaml1:a1:bee"), new Map([["spam", [bytes("a"), bytes("b")]]]))
  })

  it("reads the ping query of BEP 5", () => {
    const { value, ordered } = decoded("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")

    assert.isTrue(ordered)
    assert.deepStrictEqual(
      value,
      new Map<string, Bencode.Value>([
        ["a", new Map([["id", bytes("abcdefghij0123456789")]])],
        ["q", bytes("ping")],
        ["t", bytes("aa")],
        ["y", bytes("q")]
      ])
    )
  })

  it("reads empty strings, lists and dictionaries", () => {
    assert.deepStrictEqual(value("0:"), new Uint8Array(0))
    assert.deepStrictEqual(value("le"), [])
    assert.deepStrictEqual(value("de"), new Map())
    assert.deepStrictEqual(value("d0:0:e"), new Map([["", new Uint8Array(0)]]))
  })

  it("returns a number up to the largest safe integer and a bigint beyond", () => {
    assert.strictEqual(value("i9007199254740991e"), Number.MAX_SAFE_INTEGER)
    assert.strictEqual(value("i-9007199254740991e"), Number.MIN_SAFE_INTEGER)
    assert.strictEqual(value("i9007199254740992e"), 9_007_199_254_740_992n)
    assert.strictEqual(value("i18446744073709551615e"), 2n ** 64n - 1n)
    assert.strictEqual(value("i-9223372036854775808e"), -(2n ** 63n))
  })

  it("returns views into the input, plain arrays even if the input is a Buffer", () => {
    const input = Buffer.from("xl4:spame").subarray(1)

    const list = Result.getOrThrow(Bencode.decode(input)).value as ReadonlyArray<Uint8Array>
    input[3] = 0x53

    assert.strictEqual(list[0]!.constructor, Uint8Array)
    assert.deepStrictEqual(list[0], bytes("Spam"))
  })

  it("keeps keys of any bytes apart, one character a byte", () => {
    const dictionary = value("d2:\xc3\xa9i1e2:\xff\x00i2ee") as Bencode.Dictionary

    assert.deepStrictEqual([...dictionary.keys()], ["\xc3\xa9", "\xff\x00"])
  })

  it("reads a key of 100,000 bytes", () => {
    const key = "k".repeat(100_000)

    assert.deepStrictEqual(value(`d100000:${key}i1ee`), new Map([[key, 1]]))
  })

  it("returns the raw bytes of the root dictionary's values only", () => {
    const { spans } = decoded("d4:infod1:xi7ee4:name1:ne")

    assert.deepStrictEqual(
      spans,
      new Map([
        ["info", bytes("d1:xi7ee")],
        ["name", bytes("1:n")]
      ])
    )
    assert.strictEqual(decoded("ld4:infoi1eee").spans.size, 0)
  })

  it("refuses every truncation of a valid input", () => {
    const text = "d8:announce3:url4:infod6:lengthi-42e4:pathl1:a2:bcee1:z0:e"
    assert.isTrue(Result.isSuccess(Bencode.decode(bytes(text))))

    for (let length = 0; length < text.length; length++) {
      assert.isTrue(Result.isFailure(Bencode.decode(bytes(text.slice(0, length)))), `${length} bytes`)
    }
  })

  it("refuses what begins no value, and keys that are not strings", () => {
    assert.strictEqual(refusal("x"), "0: no value begins with this byte")
    assert.strictEqual(refusal("e"), "0: no value begins with this byte")
    assert.strictEqual(refusal("-1:a"), "0: no value begins with this byte")
    assert.strictEqual(refusal("di1ei2ee"), "1: a dictionary key is not a byte string")
    assert.strictEqual(refusal("d1:ae"), "4: no value begins with this byte")
  })

  it("reports the fault and its offset in one sentence", () => {
    const error = Result.getOrThrow(Result.flip(Bencode.decode(bytes("li03ee"))))

    assert.strictEqual(error._tag, "piecewise/BencodeError")
    assert.strictEqual(error.message, "Bad bencoding at byte 2: an integer has a leading zero.")
  })

  it("fault 1: a depth bomb causes a depth error, not a stack overflow", () => {
    const why = "lists and dictionaries are nested deeper than"
    assert.strictEqual(refusal("l".repeat(1_000_000)), `100: ${why} 100`)
    assert.strictEqual(refusal("d1:a".repeat(1_000_000)), `400: ${why} 100`)
    assert.strictEqual(refusal("l".repeat(1_000_000), { maxDepth: Infinity }), `1000: ${why} 1000`)
  })

  it("allows exactly the given depth", () => {
    const nested = (depth: number) => "l".repeat(depth) + "e".repeat(depth)

    assert.isTrue(Result.isSuccess(Bencode.decode(bytes(nested(6)), { maxDepth: 7 })))
    assert.isTrue(Result.isSuccess(Bencode.decode(bytes(nested(7)), { maxDepth: 7 })))
    assert.strictEqual(refusal(nested(8), { maxDepth: 7 }), "7: lists and dictionaries are nested deeper than 7")
    assert.isTrue(Result.isSuccess(Bencode.decode(bytes(nested(Bencode.maxDepthLimit)), { maxDepth: Infinity })))
  })

  it("counts depth, not lists that were closed before", () => {
    assert.isTrue(Result.isSuccess(Bencode.decode(bytes("lleledee"), { maxDepth: 2 })))
  })

  it("fault 2: a token bomb is refused by the number of values and keys", () => {
    const count = Bencode.defaultMaxTokens
    assert.strictEqual(decoded(`l${"de".repeat(count - 1)}e`).end, 2 * count)
    assert.strictEqual(refusal(`l${"de".repeat(count)}e`), `${2 * count - 1}: there are more than ${count} values`)
    assert.isTrue(Result.isSuccess(Bencode.decode(bytes("d1:ai1e1:bi2ee"), { maxTokens: 5 })))
    assert.strictEqual(refusal("d1:ai1e1:bi2ee", { maxTokens: 4 }), "10: there are more than 4 values")
  })

  it("fault 2: an input over the limit is refused by its length", () => {
    assert.isTrue(Result.isSuccess(Bencode.decode(bytes("2:ab"), { maxBytes: 5 })))
    assert.isTrue(Result.isSuccess(Bencode.decode(bytes("3:abc"), { maxBytes: 5 })))
    assert.strictEqual(refusal("4:abcd", { maxBytes: 5 }), "5: the input is longer than 5 bytes")
    assert.isTrue(Result.isFailure(Bencode.decode(new Uint8Array(Bencode.defaultMaxBytes + 1))))
  })

  it("fault 3: integers are read strictly", () => {
    assert.strictEqual(refusal("i-0e"), "1: an integer is a negative zero")
    assert.strictEqual(refusal("i03e"), "1: an integer has a leading zero")
    assert.strictEqual(refusal("i00e"), "1: an integer has a leading zero")
    assert.strictEqual(refusal("i-03e"), "2: an integer has a leading zero")
    assert.strictEqual(refusal("ie"), "1: an integer has no digits")
    assert.strictEqual(refusal("i-e"), "2: an integer has no digits")
    assert.strictEqual(refusal("i+1e"), "1: an integer has something other than a digit")
    assert.strictEqual(refusal("i1.5e"), "2: an integer has something other than a digit")
    assert.strictEqual(refusal("i 1e"), "1: an integer has something other than a digit")
    assert.strictEqual(refusal("i--1e"), "2: an integer has something other than a digit")
    assert.strictEqual(refusal(`i${"9".repeat(21)}e`), "1: an integer has more than 20 digits")
    assert.strictEqual(refusal(`i${"9".repeat(1_000_000)}e`), "1: an integer has more than 20 digits")
  })

  it("fault 3: string lengths are read strictly and never pass the end", () => {
    assert.deepStrictEqual(value("3:abc"), bytes("abc"))
    assert.strictEqual(refusal("4:abc"), "0: a string is longer than the input")
    assert.strictEqual(refusal("5:abc"), "0: a string is longer than the input")
    assert.strictEqual(refusal("99999999999999999999:a"), "0: a string is longer than the input")
    assert.strictEqual(refusal("4294967297:a"), "0: a string is longer than the input")
    assert.strictEqual(refusal("03:abc"), "0: a string length has a leading zero")
    assert.strictEqual(refusal("00:"), "0: a string length has a leading zero")
    assert.strictEqual(refusal("l-1:ae"), "1: no value begins with this byte")
    assert.strictEqual(refusal("1-:a"), "1: a string length has something other than a digit")
    assert.strictEqual(refusal("1"), "1: the input ends inside a string length")
  })

  it("fault 4: unordered keys load, and the span of info is its raw bytes", () => {
    const { value, spans, ordered } = decoded("d4:name1:n4:infod1:bi1e1:ai2eee")

    assert.isFalse(ordered)
    assert.deepStrictEqual(spans.get("info"), bytes("d1:bi1e1:ai2ee"))
    assert.deepStrictEqual(
      [...Bencode.getDictionary(value as Bencode.Dictionary, "info")!],
      [
        ["b", 1],
        ["a", 2]
      ]
    )
  })

  it("fault 4: the first of duplicate keys counts, in value and span alike", () => {
    const { value, spans, ordered } = decoded("d4:infoi1e4:infoi2ee")

    assert.isFalse(ordered)
    assert.deepStrictEqual(value, new Map([["info", 1]]))
    assert.deepStrictEqual(spans.get("info"), bytes("i1e"))
  })

  it("fault 4: disorder in a nested dictionary is reported too, order is by bytes", () => {
    assert.isFalse(decoded("ld1:bi1e1:ai2eee").ordered)
    assert.isFalse(decoded("d1:ad1:xi1e1:xi1eee").ordered)
    assert.isTrue(decoded("d1:Zi1e1:ai2e2:aai3e1:\xe9i4ee").ordered)
  })

  it("fault 5: bytes after the root value are refused unless they are to be ignored", () => {
    assert.strictEqual(refusal("i1ei2e"), "3: more bytes follow the value")
    assert.strictEqual(refusal("de\n"), "2: more bytes follow the value")

    const { value, end } = decoded("d5:piecei0eerest", { trailing: "ignore" })

    assert.deepStrictEqual(value, new Map([["piece", 0]]))
    assert.strictEqual(end, 12)
  })

  it("returns a result for any bytes, never an exception", () => {
    const damaged = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.string({ unit: fc.constantFrom(..."dlie:0123-"), maxLength: 64 }).map(bytes)
    )

    fc.assert(fc.property(damaged, (input) => Result.isResult(Bencode.decode(input))))
  })
})

describe("Bencode.encode", () => {
  it("writes the examples of BEP 3", () => {
    assert.deepStrictEqual(Bencode.encode("spam"), bytes("4:spam"))
    assert.deepStrictEqual(Bencode.encode(-3), bytes("i-3e"))
    assert.deepStrictEqual(Bencode.encode(["spam", "eggs"]), bytes("l4:spam4:eggse"))
    assert.deepStrictEqual(Bencode.encode({ spam: "eggs", cow: "moo" }), bytes("d3:cow3:moo4:spam4:eggse"))
  })

  it("sorts keys by their bytes, not by their text", () => {
    const encoded = Bencode.encode({ "\u{ffff}": 1, "\u{10000}": 2, b: 3, B: 4, "10": 5, "9": 6 })

    assert.deepStrictEqual(encoded, bytes("d2:10i5e1:9i6e1:Bi4e1:bi3e3:\xef\xbf\xbfi1e4:\xf0\x90\x80\x80i2ee"))
  })

  it("accepts text, bytes, both integer types and skips undefined members", () => {
    const encoded = Bencode.encode({ text: "é", bytes: bytes("\xff"), big: 2n ** 64n, none: undefined, zero: -0 })

    assert.deepStrictEqual(encoded, bytes("d3:bigi18446744073709551616e5:bytes1:\xff4:text2:\xc3\xa94:zeroi0ee"))
  })

  it("reads a Map's keys as bytes and an object's as text", () => {
    assert.deepStrictEqual(Bencode.encode(new Map([["\xe9", 1]])), bytes("d1:\xe9i1ee"))
    assert.deepStrictEqual(Bencode.encode({ "\xe9": 1 }), bytes("d2:\xc3\xa9i1ee"))
  })

  it("writes strings of every length around the growth of its buffer", () => {
    for (let length = 0; length < 1100; length++) {
      const encoded = Bencode.encode(["-", new Uint8Array(length).fill(0x78)])

      assert.deepStrictEqual(encoded, bytes(`l1:-${length}:${"x".repeat(length)}e`))
    }
  })

  it("throws on what has no encoding", () => {
    assert.throws(() => Bencode.encode(1.5), RangeError)
    assert.throws(() => Bencode.encode(Number.NaN), RangeError)
    assert.throws(() => Bencode.encode(2 ** 53), RangeError)
    assert.throws(() => Bencode.encode(new Map([["\u0100", 1]])), RangeError)
  })

  it("decodes to the value it encoded", () => {
    fc.assert(
      fc.property(Values.bencodeValue, (value) => {
        const { value: again, ordered, end } = Result.getOrThrow(Bencode.decode(Bencode.encode(value)))

        assert.deepStrictEqual(again, value)
        assert.isTrue(ordered)
        assert.strictEqual(end, Bencode.encode(value).length)
      })
    )
  })

  it("writes the same bytes in whatever order a dictionary was made", () => {
    fc.assert(
      fc.property(Values.bencodeValue, (value) => {
        if (!Bencode.isDictionary(value)) return
        const reversed = new Map([...value].reverse())

        assert.deepStrictEqual(Bencode.encode(reversed), Bencode.encode(value))
      })
    )
  })

  it("makes each span the encoding of its value", () => {
    fc.assert(
      fc.property(Values.bencodeValue, (value) => {
        const { spans } = Result.getOrThrow(Bencode.decode(Bencode.encode(value)))

        const expected = Bencode.isDictionary(value)
          ? Array.from(value, ([key, item]): [string, Uint8Array] => [key, Bencode.encode(item)])
          : []
        assert.deepStrictEqual([...spans], expected)
      })
    )
  })
})

describe("Bencode readers", () => {
  const dictionary = value("d1:b2:\xc3\xa91:dde1:ii7e1:lle1:ni9007199254740992e1:x1:\xffe") as Bencode.Dictionary

  it("return a member of the requested type", () => {
    assert.deepStrictEqual(Bencode.getBytes(dictionary, "b"), bytes("\xc3\xa9"))
    assert.strictEqual(Bencode.getText(dictionary, "b"), "é")
    assert.strictEqual(Bencode.getInt(dictionary, "i"), 7)
    assert.deepStrictEqual(Bencode.getList(dictionary, "l"), [])
    assert.deepStrictEqual(Bencode.getDictionary(dictionary, "d"), new Map())
  })

  it("return undefined for an absent member and for one of another type", () => {
    const readers = {
      b: [Bencode.getBytes, Bencode.getText],
      i: [Bencode.getInt],
      l: [Bencode.getList],
      d: [Bencode.getDictionary]
    }

    for (const [own, functions] of Object.entries(readers)) {
      for (const read of functions) {
        for (const key of ["absent", "b", "d", "i", "l"].filter((key) => key !== own)) {
          assert.isUndefined(read(dictionary, key), `${read.name} of ${key}`)
        }
      }
    }
  })

  it("return no integer that is not safe, and replace what is not UTF-8", () => {
    assert.isUndefined(Bencode.getInt(dictionary, "n"))
    assert.strictEqual(Bencode.getText(dictionary, "x"), "\u{fffd}")
  })
})
