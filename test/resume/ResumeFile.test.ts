import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Bytes from "../../src/base/Bytes.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as ResumeFile from "../../src/resume/ResumeFile.ts"
import { draw, drawn, hashOf } from "./ResumeStore.suite.ts"

/** A file: what its snapshot holds, and the batches of records behind it. */
interface Script {
  readonly pieceCount: number
  readonly stored: ReadonlyArray<number>
  readonly flushed: ReadonlyArray<number>
  readonly batches: ReadonlyArray<ReadonlyArray<number>>
  readonly boot: string
}

const script: fc.Arbitrary<Script> = fc.integer({ min: 1, max: 70 }).chain((pieceCount) => {
  const piece = fc.nat(pieceCount - 1)
  return fc.record({
    pieceCount: fc.constant(pieceCount),
    stored: fc.array(piece),
    flushed: fc.array(piece),
    batches: fc.array(fc.array(piece, { maxLength: 5 }), { maxLength: 5 }),
    boot: fc.constantFrom("", "time:1700000000", "name:4f2c4b52-0d2e-4be6-a0cf-9f6d2b3a8f11")
  })
})

const bitsOf = (pieceCount: number, pieces: Iterable<number>) => {
  const bits = Bitfield.make(pieceCount)
  for (const piece of pieces) Bitfield.add(bits, piece)
  return bits
}

const infoHash = hashOf(7)

const encode = ({ batches, boot, flushed, pieceCount, stored }: Script) => {
  const snapshot = ResumeFile.encodeSnapshot({
    infoHash,
    stored: bitsOf(pieceCount, stored),
    flushed: bitsOf(pieceCount, flushed),
    boot
  })
  const chunks = [snapshot.bytes]
  let tail: ResumeFile.Tail = snapshot
  for (const batch of batches) {
    const records = ResumeFile.encodeRecords(tail, batch)
    chunks.push(records.bytes)
    tail = records
  }
  return { bytes: Bytes.concat(chunks), snapshotLength: snapshot.bytes.length, tail }
}

/** What a file that was cut or damaged may say at most: the snapshot, and a run of its first records. */
const prefixes = ({ batches, flushed, pieceCount, stored }: Script) => {
  const records = batches.flat()
  return Array.from({ length: records.length + 1 }, (_, count) => {
    const appended = records.slice(0, count)
    return {
      stored: draw(bitsOf(pieceCount, [...stored, ...appended])),
      flushed: draw(
        bitsOf(
          pieceCount,
          flushed.filter((piece) => stored.includes(piece) && !appended.includes(piece))
        )
      )
    }
  })
}

const sets = (decoded: ResumeFile.Decoded) => ({ stored: draw(decoded.stored), flushed: draw(decoded.flushed) })

describe("ResumeFile", () => {
  it("lays the snapshot and its records out as its header says", () => {
    const snapshot = ResumeFile.encodeSnapshot({
      infoHash,
      stored: drawn("*.*......*"),
      flushed: drawn("**........"),
      boot: "b"
    })
    const records = ResumeFile.encodeRecords(snapshot, [258])

    assert.strictEqual(
      Bytes.toHex(snapshot.bytes.subarray(0, -4)),
      ["7077726573756d65", "0001", "07".repeat(20), "0000000a", "01", "62", "a040", "8000"].join("")
    )
    assert.strictEqual(Bytes.toHex(records.bytes.subarray(0, 4)), "00000102")
    assert.strictEqual(records.end, snapshot.bytes.length + 8)
  })

  it("checks with CRC-32, by its values for the texts 1234 and 12345678", () => {
    const records = ResumeFile.encodeRecords({ end: 0, check: 0 }, [0x31323334, 0x35363738])

    assert.strictEqual(Bytes.toHex(records.bytes.subarray(4, 8)), "9be3e0a3")
    assert.strictEqual(records.check, 0x9ae0daaf)
  })

  it("decodes what it encoded", () => {
    fc.assert(
      fc.property(script, (file) => {
        const { bytes, tail } = encode(file)

        const decoded = Result.getOrThrow(ResumeFile.decode(bytes, infoHash, file.pieceCount))

        assert.deepStrictEqual(sets(decoded), prefixes(file).at(-1))
        assert.strictEqual(decoded.boot, file.boot)
        assert.deepStrictEqual({ end: decoded.end, check: decoded.check }, { end: tail.end, check: tail.check })
      })
    )
  })

  it("keeps all records before the place where the file was cut, at every byte", () => {
    fc.assert(
      fc.property(script, (file) => {
        const { bytes, snapshotLength } = encode(file)
        const expected = prefixes(file)

        for (let length = 0; length < bytes.length; length++) {
          const decoded = ResumeFile.decode(bytes.subarray(0, length), infoHash, file.pieceCount)

          if (length < snapshotLength) assert.isTrue(Result.isFailure(decoded), `${length} bytes`)
          else {
            const whole = Math.floor((length - snapshotLength) / ResumeFile.recordLength)
            assert.deepStrictEqual(sets(Result.getOrThrow(decoded)), expected[whole], `${length} bytes`)
          }
        }
      }),
      { numRuns: 30 }
    )
  })

  it("never takes a changed byte for a piece that was not saved, at every byte", () => {
    fc.assert(
      fc.property(script, fc.integer({ min: 1, max: 255 }), (file, change) => {
        const { bytes, snapshotLength } = encode(file)
        const expected = prefixes(file)

        for (let index = 0; index < bytes.length; index++) {
          const damaged = bytes.slice()
          damaged[index]! ^= change
          const decoded = ResumeFile.decode(damaged, infoHash, file.pieceCount)

          if (index < snapshotLength) assert.isTrue(Result.isFailure(decoded), `byte ${index}`)
          else {
            const whole = Math.floor((index - snapshotLength) / ResumeFile.recordLength)
            assert.deepStrictEqual(sets(Result.getOrThrow(decoded)), expected[whole], `byte ${index}`)
          }
        }
      }),
      { numRuns: 30 }
    )
  })

  it("does not bring records to life that stand behind an overwritten one", () => {
    fc.assert(
      fc.property(fc.nat(19), fc.nat(19), fc.nat(19), fc.nat(19), (first, second, third, other) => {
        fc.pre(other !== first)
        const { bytes, snapshotLength } = encode({
          pieceCount: 20,
          stored: [],
          flushed: [],
          boot: "",
          batches: [[first, second, third]]
        })
        const before = Result.getOrThrow(ResumeFile.decode(bytes.subarray(0, snapshotLength), infoHash, 20))
        bytes.set(ResumeFile.encodeRecords(before, [other]).bytes, before.end)

        const decoded = Result.getOrThrow(ResumeFile.decode(bytes, infoHash, 20))

        assert.deepStrictEqual([...Bitfield.indices(decoded.stored)], [other])
      })
    )
  })

  it("takes a tail of zeros, as a power cut leaves it, for the end", () => {
    fc.assert(
      fc.property(script, fc.integer({ min: 1, max: 64 }), (file, zeros) => {
        const { bytes, tail } = encode(file)

        const decoded = ResumeFile.decode(Bytes.concat([bytes, new Uint8Array(zeros)]), infoHash, file.pieceCount)

        assert.strictEqual(Result.getOrThrow(decoded).end, tail.end)
      })
    )
  })

  it("tells why it refuses a file", () => {
    const { bytes } = encode({ pieceCount: 9, stored: [1], flushed: [], batches: [], boot: "" })
    const version2 = bytes.slice()
    version2[9] = 2
    const reason = (file: Uint8Array, hash: InfoHash, pieceCount: number) => {
      const decoded = ResumeFile.decode(file, hash, pieceCount)
      return Result.isFailure(decoded) ? decoded.failure.reason : "none"
    }

    assert.deepStrictEqual(
      [
        reason(new Uint8Array(), infoHash, 9),
        reason(bytes.subarray(0, -1), infoHash, 9),
        reason(new Uint8Array(bytes.length), infoHash, 9),
        reason(version2, infoHash, 9),
        reason(bytes, hashOf(8), 9),
        reason(bytes, infoHash, 10)
      ],
      ["truncated", "truncated", "damaged", "otherVersion", "otherTorrent", "otherTorrent"]
    )
  })
})
