import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"

/** The bits drawn, first to last: `"110"`. */
const draw = (self: Bitfield.Bitfield): string =>
  Array.from({ length: self.length }, (_, index) => (Bitfield.has(self, index) ? "1" : "0")).join("")

const drawn = (bits: string): Bitfield.Bitfield => {
  const self = Bitfield.make(bits.length)
  for (const [index, bit] of Array.from(bits).entries()) if (bit === "1") Bitfield.add(self, index)
  return self
}

const bits = (maxLength: number) => fc.string({ unit: fc.constantFrom("0", "1"), maxLength })

const countOnes = (bytes: Uint8Array): number =>
  bytes.reduce((count, byte) => count + byte.toString(2).replaceAll("0", "").length, 0)

describe("Bitfield", () => {
  it("has index 0 in the high bit of the first byte (BEP 3)", () => {
    assert.deepStrictEqual(drawn("1000000001").bytes, Uint8Array.of(0x80, 0x40))
    assert.deepStrictEqual(drawn("0000000100000000").bytes, Uint8Array.of(0x01, 0x00))
  })

  it("takes as many bytes as its bits need", () => {
    for (const [length, bytes] of [
      [0, 0],
      [1, 1],
      [8, 1],
      [9, 2],
      [16, 2],
      [17, 3]
    ] as const) {
      assert.strictEqual(Bitfield.make(length).bytes.length, bytes, `${length} bits`)
    }
  })

  it("that is full has every bit and no spare one, at every length", () => {
    for (let length = 0; length <= 33; length++) {
      const full = Bitfield.full(length)

      assert.strictEqual(draw(full), "1".repeat(length))
      assert.strictEqual(countOnes(full.bytes), length)
      assert.isTrue(Bitfield.isFull(full))
    }
  })

  it("is restored from its bytes, copied", () => {
    fc.assert(
      fc.property(bits(70), (text) => {
        const original = drawn(text)

        const again = Bitfield.fromBytes(original.bytes, text.length)!

        assert.strictEqual(draw(again), text)
        assert.deepStrictEqual(again, original)
        assert.notStrictEqual(again.bytes, original.bytes)
      })
    )
  })

  it("fault 27: bytes of a wrong number are refused at every length", () => {
    for (let length = 0; length <= 33; length++) {
      for (let bytes = 0; bytes <= 6; bytes++) {
        const self = Bitfield.fromBytes(new Uint8Array(bytes), length)

        assert.strictEqual(self !== undefined, bytes === Math.ceil(length / 8), `${bytes} bytes for ${length} bits`)
      }
    }
  })

  it("fault 27: each spare bit at the end is refused", () => {
    for (let length = 1; length <= 16; length++) {
      const byteCount = Math.ceil(length / 8)
      for (let bit = 0; bit < byteCount * 8; bit++) {
        const bytes = new Uint8Array(byteCount)
        bytes[bit >>> 3] = 0x80 >>> (bit & 7)

        assert.strictEqual(Bitfield.fromBytes(bytes, length) !== undefined, bit < length, `bit ${bit} of ${length}`)
      }
    }
  })

  it("is fitted to its length from bytes of any length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 6 }), fc.nat(40), (bytes, length) => {
        const all = Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("")

        const self = Bitfield.fitted(bytes, length)

        assert.strictEqual(draw(self), all.slice(0, length).padEnd(length, "0"))
        assert.strictEqual(self.count, countOnes(self.bytes))
      })
    )
  })

  it("counts what it has in common with another one", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.boolean())), (pairs) => {
        const [one, other] = [0, 1].map((at) => drawn(pairs.map((pair) => (pair[at] === true ? "1" : "0")).join("")))

        assert.strictEqual(Bitfield.countOfBoth(one!, other!), pairs.filter(([a, b]) => a && b).length)
      })
    )
  })

  it("agrees with a set of numbers after any script, count and bytes included", () => {
    const length = 19
    const index = fc.integer({ min: 0, max: length - 1 })
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ act: fc.constantFrom("add" as const, "remove" as const), index }) },
      { weight: 1, arbitrary: fc.constant({ act: "clear" as const, index: 0 }) }
    )

    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (script) => {
        const self = Bitfield.make(length)
        const model = new Set<number>()
        for (const { act, index } of script) {
          if (act === "add") {
            assert.strictEqual(Bitfield.add(self, index), !model.has(index))
            model.add(index)
          } else if (act === "remove") {
            assert.strictEqual(Bitfield.remove(self, index), model.delete(index))
          } else {
            Bitfield.clear(self)
            model.clear()
          }
        }

        assert.deepStrictEqual(
          [...Bitfield.indices(self)],
          [...model].sort((a, b) => a - b)
        )
        for (let start = 0; start <= length + 8; start++) {
          const later = [...model].filter((index) => index >= start)
          assert.strictEqual(Bitfield.next(self, start), later.length === 0 ? -1 : Math.min(...later))
        }
        assert.strictEqual(self.count, model.size)
        assert.strictEqual(countOnes(self.bytes), model.size)
        assert.strictEqual(Bitfield.isFull(self), model.size === length)
      })
    )
  })

  it("has nothing outside its length", () => {
    const full = Bitfield.full(10)

    for (const index of [-1, 10, 15, 16, 1000]) assert.isFalse(Bitfield.has(full, index), `${index}`)
  })

  it("does not change with its copy", () => {
    const original = drawn("1010")

    const copy = Bitfield.copy(original)
    Bitfield.add(copy, 1)

    assert.strictEqual(draw(original), "1010")
    assert.strictEqual(original.count, 2)
    assert.strictEqual(draw(copy), "1110")
    assert.strictEqual(copy.count, 3)
  })

  it("holds what was copied to it, and changes alone", () => {
    const self = drawn("1111000011")
    const that = drawn("0000000001")

    Bitfield.replace(self, that)
    Bitfield.add(that, 0)

    assert.strictEqual(draw(self), "0000000001")
    assert.strictEqual(self.count, 1)
  })
})
