import { crc32 } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as ResumeFile from "../../src/resume/ResumeFile.ts"
import type { FileRecord, OpenOptions, ResumeChange } from "../../src/resume/ResumeStore.ts"
import { draw, drawFiles, drawn, hashOf, noFiles, pieces, record } from "./ResumeStore.suite.ts"

/** A record behind the snapshot. */
type Step =
  | { readonly kind: "dropped" | "stored" | "flushed"; readonly piece: PieceIndex }
  | { readonly kind: "file"; readonly file: number; readonly record: FileRecord }

/** A file: what its snapshot holds, and the records behind it. */
interface Script {
  readonly pieceCount: number
  readonly fileCount: number
  readonly stored: ReadonlyArray<number>
  readonly flushed: ReadonlyArray<number>
  readonly files: ReadonlyMap<number, FileRecord>
  readonly steps: ReadonlyArray<Step>
  readonly boot: string
}

const fileRecord: fc.Arbitrary<FileRecord> = fc.record({
  isWriting: fc.boolean(),
  isStale: fc.boolean(),
  length: fc.maxSafeNat(),
  mtimeNs: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  identity: fc.constantFrom("", "66305:12345678", "i".repeat(64))
})

const script: fc.Arbitrary<Script> = fc
  .record({ pieceCount: fc.integer({ min: 1, max: 70 }), fileCount: fc.integer({ min: 1, max: 5 }) })
  .chain(({ fileCount, pieceCount }) => {
    const piece = fc.nat(pieceCount - 1)
    const file = fc.nat(fileCount - 1)
    return fc.record({
      pieceCount: fc.constant(pieceCount),
      fileCount: fc.constant(fileCount),
      stored: fc.array(piece),
      flushed: fc.array(piece),
      files: fc.array(fc.tuple(file, fileRecord), { maxLength: 3 }).map((files) => new Map(files)),
      steps: fc.array(
        fc.oneof(
          fc.record({
            kind: fc.constantFrom("dropped" as const, "stored" as const, "flushed" as const),
            piece: piece.map((index) => index as PieceIndex)
          }),
          fc.record({ kind: fc.constant("file" as const), file, record: fileRecord })
        ),
        { maxLength: 10 }
      ),
      boot: fc.constantFrom("", "time:1700000000", "name:4f2c4b52-0d2e-4be6-a0cf-9f6d2b3a8f11")
    })
  })

const bitsOf = (pieceCount: number, members: Iterable<number>) => {
  const bits = Bitfield.make(pieceCount)
  for (const piece of members) Bitfield.add(bits, piece)
  return bits
}

const infoHash = hashOf(7)

const changeOf = (step: Step): ResumeChange =>
  step.kind === "file" ? { files: new Map([[step.file, step.record]]) } : { [step.kind]: [step.piece] }

const encode = ({ boot, files, flushed, pieceCount, steps, stored }: Script) => {
  const snapshot = ResumeFile.encodeSnapshot({
    infoHash,
    stored: bitsOf(pieceCount, stored),
    flushed: bitsOf(pieceCount, flushed),
    files,
    boot
  })
  const chunks = [snapshot.bytes]
  let tail: ResumeFile.Tail = snapshot
  /** Where the snapshot ends, and each record. */
  const ends = [snapshot.end]
  for (const step of steps) {
    const added = ResumeFile.encodeRecords(tail, changeOf(step))
    chunks.push(added.bytes)
    tail = added
    ends.push(added.end)
  }
  return { bytes: Bytes.concat(chunks), ends, snapshotLength: snapshot.bytes.length, tail }
}

/** What a file that was cut or damaged may say at most: the snapshot, and a run of its first records. */
const prefixes = (file: Script) => {
  const stored = new Set(file.stored)
  const flushed = new Set(file.flushed.filter((piece) => stored.has(piece)))
  const files = new Map(file.files)
  const say = () => ({
    stored: draw(bitsOf(file.pieceCount, stored)),
    flushed: draw(bitsOf(file.pieceCount, flushed)),
    files: drawFiles(files)
  })
  const apply = (step: Step) => {
    if (step.kind === "file") files.set(step.file, step.record)
    else if (step.kind === "stored") {
      stored.add(step.piece)
      flushed.delete(step.piece)
    } else if (step.kind === "dropped") {
      stored.delete(step.piece)
      flushed.delete(step.piece)
    } else if (stored.has(step.piece)) flushed.add(step.piece)
    return say()
  }
  return [say(), ...file.steps.map(apply)]
}

const sets = ({ files, flushed, stored }: ResumeFile.Decoded) => ({
  stored: draw(stored),
  flushed: draw(flushed),
  files: drawFiles(files)
})

const openOf = ({ fileCount, pieceCount }: Pick<Script, "fileCount" | "pieceCount">): OpenOptions => ({
  infoHash,
  pieceCount,
  fileCount
})

/** The check of `bytes` that continues `check`, as Node computes it. */
const checkOf = (check: number, bytes: Uint8Array) => crc32(bytes, check).toString(16).padStart(8, "0")

/** How many whole records are before a place in the file. */
const recordsBefore = (ends: ReadonlyArray<number>, place: number) => ends.filter((end) => end <= place).length - 1

const simple: Script = {
  pieceCount: 9,
  fileCount: 2,
  stored: [1],
  flushed: [],
  files: new Map([[1, record("a")]]),
  steps: [],
  boot: ""
}

const hexBytes = (...parts: ReadonlyArray<string>) => Bytes.fromHex(parts.join(""))!

/**
 * A file of version 1, whose checks another program computed: boot identity `b`, `"*.*......*"` stored, `"*........."`
 * flushed, and records of the pieces 3 and 4.
 */
const firstVersion = hexBytes(
  ...["7077726573756d65", "0001", "07".repeat(20), "0000000a", "01", "62", "a040", "8000", "f8560be3"],
  ...["00000003", "2f550f6d"],
  ...["00000004", "8824e7ae"]
)

describe("ResumeFile", () => {
  it("encodes the snapshot as its header says, with a CRC-32 that another program computed", () => {
    const snapshot = ResumeFile.encodeSnapshot({
      infoHash,
      stored: drawn("*.*......*"),
      flushed: drawn("**........"),
      files: new Map([
        [2, { isWriting: true, isStale: true, length: 258, mtimeNs: 1_700_000_000_123_456_789n, identity: "1:77" }],
        [0, { isWriting: false, isStale: false, length: Number.MAX_SAFE_INTEGER, mtimeNs: -1n, identity: "" }]
      ]),
      boot: "b"
    })

    assert.strictEqual(
      Bytes.toHex(snapshot.bytes),
      [
        ...["7077726573756d65", "0002", "07".repeat(20), "0000000a", "01", "62", "a040", "8000"],
        "00000002",
        ...["00000002", "03", "0000000000000102", "17979cfe3d85cd15", "04", "313a3737"],
        ...["00000000", "00", "001fffffffffffff", "ffffffffffffffff", "00"],
        "40ebf6c4"
      ].join("")
    )
    assert.strictEqual(snapshot.end, snapshot.bytes.length)
  })

  it("encodes each kind of record as its header says, in the order in which a kill leaves what is true", () => {
    const records = ResumeFile.encodeRecords(
      { end: 1_000, check: 7 },
      {
        flushed: pieces(1),
        stored: pieces(258),
        dropped: pieces(3),
        files: new Map([[1, { isWriting: true, isStale: false, length: 258, mtimeNs: 5n, identity: "7" }]])
      }
    )

    assert.strictEqual(
      Bytes.toHex(records.bytes),
      [
        ...["04", "00000003", "188bdc77"],
        ...["03", "00000001", "01", "0000000000000102", "0000000000000005", "01", "37", "158ea924"],
        ...["01", "00000102", "d46b8115"],
        ...["02", "00000001", "97d6799d"]
      ].join("")
    )
    assert.deepStrictEqual([records.end, records.check], [1_000 + records.bytes.length, 0x97d6799d])
  })

  it("decodes what it encoded", () => {
    fc.assert(
      fc.property(script, (file) => {
        const { bytes, snapshotLength, tail } = encode(file)

        const decoded = Result.getOrThrow(ResumeFile.decode(bytes, openOf(file)))

        assert.deepStrictEqual(sets(decoded), prefixes(file).at(-1))
        const { boot, check, end, isCurrent } = decoded
        assert.deepStrictEqual({ end, check }, { end: tail.end, check: tail.check })
        assert.deepStrictEqual({ boot, isCurrent }, { boot: file.boot, isCurrent: true })
        assert.strictEqual(decoded.snapshotLength, snapshotLength)
      })
    )
  })

  it("keeps all records before the place where the file was cut, at every byte", () => {
    fc.assert(
      fc.property(script, (file) => {
        const { bytes, ends, snapshotLength } = encode(file)
        const expected = prefixes(file)

        for (let length = 0; length < bytes.length; length++) {
          const decoded = ResumeFile.decode(bytes.subarray(0, length), openOf(file))

          if (length < snapshotLength) assert.isTrue(Result.isFailure(decoded), `${length} bytes`)
          else {
            const whole = recordsBefore(ends, length)
            assert.deepStrictEqual(sets(Result.getOrThrow(decoded)), expected[whole], `${length} bytes`)
            assert.strictEqual(Result.getOrThrow(decoded).end, ends[whole])
          }
        }
      }),
      { numRuns: 30 }
    )
  })

  it("refuses a snapshot with a flushed piece that is not stored, though its check is right", () => {
    const none = Bitfield.make(10)
    const { bytes } = ResumeFile.encodeSnapshot({ infoHash, stored: none, flushed: none, files: noFiles, boot: "b" })
    // The bits of the flushed pieces are behind the fixed part, the boot identity and the bits of the stored ones.
    bytes[35 + 1 + 2 + 1] = 0x40
    Bytes.writeUint32Unsafe(bytes, bytes.length - 4, crc32(bytes.subarray(0, -4)))

    const decoded = ResumeFile.decode(bytes, { infoHash, pieceCount: 10, fileCount: 3 })

    assert.strictEqual(Result.isFailure(decoded) && decoded.failure.reason, "damaged")
  })

  it("never takes a changed byte for something that was not saved, at every byte", () => {
    fc.assert(
      fc.property(script, fc.integer({ min: 1, max: 255 }), (file, change) => {
        const { bytes, ends, snapshotLength } = encode(file)
        const expected = prefixes(file)

        for (let index = 0; index < bytes.length; index++) {
          const damaged = bytes.slice()
          damaged[index]! ^= change
          const decoded = ResumeFile.decode(damaged, openOf(file))

          if (index < snapshotLength) assert.isTrue(Result.isFailure(decoded), `byte ${index}`)
          else {
            const whole = recordsBefore(ends, index)
            assert.deepStrictEqual(sets(Result.getOrThrow(decoded)), expected[whole], `byte ${index}`)
          }
        }
      }),
      { numRuns: 30 }
    )
  })

  it("does not revive records that are behind an overwritten one", () => {
    fc.assert(
      fc.property(script, fc.nat(), (file, other) => {
        fc.pre(file.steps.length > 0)
        const { bytes, ends } = encode(file)
        const [first] = file.steps
        const step: Step = { kind: "stored", piece: (other % file.pieceCount) as PieceIndex }
        fc.pre(first!.kind !== "stored" || first!.piece !== step.piece)
        const before = Result.getOrThrow(ResumeFile.decode(bytes.subarray(0, ends[0]), openOf(file)))
        const added = ResumeFile.encodeRecords(before, changeOf(step))
        const overwritten = Bytes.concat([
          bytes.subarray(0, before.end),
          added.bytes,
          bytes.subarray(before.end + added.bytes.length)
        ])

        const decoded = Result.getOrThrow(ResumeFile.decode(overwritten, openOf(file)))

        assert.deepStrictEqual(sets(decoded), prefixes({ ...file, steps: [step] }).at(-1))
        assert.strictEqual(decoded.end, added.end)
      })
    )
  })

  it("takes a tail of zeros, as a power cut leaves it, for the end", () => {
    fc.assert(
      fc.property(script, fc.integer({ min: 1, max: 64 }), (file, zeros) => {
        const { bytes, tail } = encode(file)

        const decoded = ResumeFile.decode(Bytes.concat([bytes, new Uint8Array(zeros)]), openOf(file))

        assert.strictEqual(Result.getOrThrow(decoded).end, tail.end)
      })
    )
  })

  it("ends at a record of a piece, file or kind that does not exist, although its check is right", () => {
    const { bytes, tail } = encode(simple)
    const ofKind = (kind: number) => {
      const { bytes: written } = ResumeFile.encodeRecords(tail, { stored: pieces(2) })
      written[0] = kind
      return Bytes.concat([written.subarray(0, 5), hexBytes(checkOf(tail.check, written.subarray(0, 5)))])
    }
    const strange = {
      piece: ResumeFile.encodeRecords(tail, { stored: pieces(9) }).bytes,
      file: ResumeFile.encodeRecords(tail, { files: new Map([[2, record("a")]]) }).bytes,
      kind: ofKind(5)
    }

    for (const [name, added] of Object.entries(strange)) {
      const decoded = Result.getOrThrow(ResumeFile.decode(Bytes.concat([bytes, added]), openOf(simple)))

      assert.deepStrictEqual(sets(decoded), prefixes(simple)[0], name)
      assert.strictEqual(decoded.end, bytes.length, name)
    }
    const known = Result.getOrThrow(ResumeFile.decode(Bytes.concat([bytes, ofKind(1)]), openOf(simple)))
    assert.strictEqual(draw(known.stored), ".**......")
  })

  it("refuses a snapshot with a file that the torrent does not have", () => {
    const { bytes } = encode(simple)

    const decoded = ResumeFile.decode(bytes, { infoHash, pieceCount: 9, fileCount: 1 })

    assert.strictEqual(Result.isFailure(decoded) && decoded.failure.reason, "damaged")
  })

  it("refuses a number of files that no file could hold, without making room for them", () => {
    const { bytes } = encode({ ...simple, files: noFiles })
    bytes.fill(0xff, bytes.length - 8, bytes.length - 4)

    const decoded = ResumeFile.decode(bytes, openOf(simple))

    assert.isTrue(Result.isFailure(decoded))
  })

  it("reads version 1 as a hint: pieces without files, to which no record can be added", () => {
    const open = { infoHash, pieceCount: 10, fileCount: 2 }

    const decoded = Result.getOrThrow(ResumeFile.decode(firstVersion, open))

    assert.deepStrictEqual(sets(decoded), { stored: "*.***....*", flushed: "*.........", files: [] })
    assert.deepStrictEqual([decoded.boot, decoded.isCurrent], ["b", false])
  })

  it("keeps all records of version 1 before the place where it was cut or damaged, at every byte", () => {
    const open = { infoHash, pieceCount: 10, fileCount: 2 }
    const snapshotLength = firstVersion.length - 16
    const expected = ["*.*......*", "*.**.....*", "*.***....*"]
    for (let place = 0; place < firstVersion.length; place++) {
      const damaged = firstVersion.slice()
      damaged[place]! ^= 1
      for (const bytes of [damaged, firstVersion.subarray(0, place)]) {
        const decoded = ResumeFile.decode(bytes, open)

        if (place < snapshotLength) assert.isTrue(Result.isFailure(decoded), `byte ${place}`)
        else {
          const whole = Math.floor((place - snapshotLength) / 8)
          assert.strictEqual(draw(Result.getOrThrow(decoded).stored), expected[whole], `byte ${place}`)
        }
      }
    }
  })

  it("says why it refuses a file", () => {
    const { bytes } = encode(simple)
    const version3 = bytes.slice()
    version3[9] = 3
    const reason = (file: Uint8Array, hash: number, pieceCount: number) => {
      const decoded = ResumeFile.decode(file, { infoHash: hashOf(hash), pieceCount, fileCount: 2 })
      return Result.isFailure(decoded) ? decoded.failure.reason : "none"
    }

    assert.deepStrictEqual(
      [
        reason(new Uint8Array(), 7, 9),
        reason(bytes.subarray(0, -1), 7, 9),
        reason(bytes.subarray(0, -6), 7, 9),
        reason(new Uint8Array(bytes.length), 7, 9),
        reason(version3, 7, 9),
        reason(bytes, 8, 9),
        reason(bytes, 7, 10)
      ],
      ["truncated", "truncated", "truncated", "damaged", "otherVersion", "otherTorrent", "otherTorrent"]
    )
  })
})
