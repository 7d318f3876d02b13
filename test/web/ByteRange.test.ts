import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as ByteRange from "../../src/web/ByteRange.ts"

describe("ByteRange", () => {
  it.each<[string, readonly [number, number] | "unsatisfiable" | undefined]>([
    // RFC 9110, section 14.1.2, for 10,000 bytes.
    ["bytes=0-499", [0, 500]],
    ["bytes=500-999", [500, 1_000]],
    ["bytes=-500", [9_500, 10_000]],
    ["bytes=9500-", [9_500, 10_000]],
    ["bytes=0-0", [0, 1]],
    ["bytes=-1", [9_999, 10_000]],
    ["BYTES=0-1", [0, 2]],
    ["bytes= 5-6 ", [5, 7]],
    ["bytes=-99999", [0, 10_000]],
    ["bytes=9999-99999999999999999999999", [9_999, 10_000]],
    ["bytes=10000-", "unsatisfiable"],
    ["bytes=10000-10001", "unsatisfiable"],
    ["bytes=99999999999999999999999999-", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"],
    // Not understood, malformed, or more than one.
    ["bytes=2-1", undefined],
    ["bytes=-", undefined],
    ["bytes=", undefined],
    ["bytes=0-1,3-4", undefined],
    ["bytes=a-b", undefined],
    ["bytes=0x1-2", undefined],
    ["bytes=1.5-2", undefined],
    ["items=0-1", undefined],
    ["0-1", undefined],
    ["", undefined]
  ])("%s", (header, expected) => {
    const parsed = ByteRange.parse(header, 10_000)

    assert.deepStrictEqual(typeof parsed === "object" ? ([parsed.begin, parsed.end] as const) : parsed, expected)
  })

  it("is of no meaning for a file without bytes", () => {
    assert.deepStrictEqual(
      ["bytes=0-", "bytes=-1", "bytes=0-0"].map((header) => ByteRange.parse(header, 0)),
      [undefined, undefined, undefined]
    )
  })

  it("is a part of the file that has a byte, whatever is asked for", () => {
    fc.assert(
      fc.property(
        fc.option(fc.nat(200)),
        fc.option(fc.nat(200)),
        fc.integer({ min: 1, max: 150 }),
        (first, last, length) => {
          const parsed = ByteRange.parse(`bytes=${first ?? ""}-${last ?? ""}`, length)

          if (typeof parsed !== "object") return
          assert.isTrue(0 <= parsed.begin && parsed.begin < parsed.end && parsed.end <= length)
          assert.strictEqual(
            ByteRange.contentRange(parsed, length),
            `bytes ${parsed.begin}-${parsed.end - 1}/${length}`
          )
        }
      )
    )
  })
})
