import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as fc from "fast-check"
import type { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { ResumeData } from "../../src/resume/ResumeStore.ts"
import type { MemoryMedium } from "../../src/storage/provider/memory/MemoryStorage.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Adoption from "../../src/torrent/Adoption.ts"
import * as KnownFiles from "../../src/torrent/KnownFiles.ts"
import * as Recheck from "../../src/torrent/Recheck.ts"
import { drawn } from "../resume/ResumeStore.suite.ts"
import { contentOf, layout as layouts, pieceOf } from "../storage/layouts.ts"
import * as DrawnTorrent from "./drawnTorrent.ts"

const test = <E>(name: string, program: () => Effect.Effect<void, E, PieceHasher | Scope.Scope>) =>
  it.effect(name, () => Effect.suspend(program).pipe(Effect.scoped, Effect.provide(NodePieceHasher.layer)))

interface Change {
  /** What a user does after the disk was drawn, and after resume data was written. */
  readonly then?: ((medium: MemoryMedium["Service"]) => void) | undefined
  readonly resume?: ((facts: ReadonlyArray<FileFacts | undefined>) => ResumeData) | undefined
  /** What another client says that it has stored. */
  readonly hint?: string | undefined
  readonly distrusts?: boolean | undefined
}

/** Gathers what the decision is made from. */
const found = Effect.fnUntraced(function* (known: DrawnTorrent.Known, disk: string | undefined, change: Change = {}) {
  const { look, medium, storage } = yield* DrawnTorrent.open(known, disk)
  const resume = change.resume?.(yield* look)
  change.then?.(medium)
  const facts = yield* look
  const { distrusts } = change
  const hint = change.hint === undefined ? undefined : drawn(change.hint)
  const { layout, metainfo } = known
  const checked = yield* Recheck.run({ metainfo, storage, resume, hint, distrusts, facts, onProgress: () => {} })
  const options: Adoption.Options = { layout, storage, resume, hint, facts, found: checked }
  return { options, standings: yield* Adoption.run(options) }
})

/** Decides whose each file is, and names it by the last component of its path. */
const standings = Effect.fnUntraced(function* (drawing: string, disk: string, change?: Change) {
  const known = yield* DrawnTorrent.torrent(drawing)
  const { standings } = yield* found(known, disk, change)
  return Object.fromEntries(Array.from(standings, ([file, standing]) => [known.layout.files[file]!.path[1]!, standing]))
})

describe("Adoption", () => {
  const table: ReadonlyArray<
    readonly [name: string, torrent: string, disk: string, Record<string, Adoption.Standing>]
  > = [
    ["nothing there", "aaaa bbbb", "---- ----", {}],
    ["all of it right", "aaaa aaaa", "rrrr rrrr", { a: "own" }],
    ["right, without the last piece", "aaaa aaaa", "rrrr ----", { a: "own" }],
    ["right, and the last piece ends early", "aaaa aaaa", "rrrr rr--", { a: "undecided" }],
    ["right, and zeros that were not written yet", "aaaa aaaa", "rrrr 0000", { a: "own" }],
    ["right, and zeros that end early", "aaaa aaaa", "rrrr 00--", { a: "own" }],
    ["right, and one piece wrong", "aaaa aaaa", "rrrr rxrr", { a: "foreign" }],
    ["right, and one piece half zeros, which no write of ours leaves", "aaaa aaaa", "rrrr rr00", { a: "foreign" }],
    ["right, and a wrong piece that ends early", "aaaa aaaa", "rrrr x---", { a: "undecided" }],
    ["wrong", "aaaa aaaa", "xxxx xxxx", { a: "foreign" }],
    ["wrong, and too short for any piece", "aaaa aaaa", "x--- ----", { a: "undecided" }],
    ["zeros that somebody wrote", "aaaa aaaa", "0000 0000", { a: "undecided" }],
    ["zeros and a wrong piece", "aaaa aaaa", "0000 xxxx", { a: "foreign" }],
    ["a hole", "aaaa aaaa", "____ ____", { a: "own" }],
    ["a hole that ends early", "aaaa aaaa", "____ _---", { a: "own" }],
    ["zeros that are right, which prove nothing", "AAAA aaaa", "rrrr 0000", { a: "undecided" }],
    ["zeros that are right, and right bytes", "AAAA aaaa aaaa", "rrrr rrrr 0000", { a: "own" }],
    ["only zeros that are right", "AAAA AAAA", "rrrr rrrr", { a: "own" }],
    ["a shared piece, right in both files", "aabb", "rrrr", { a: "own", b: "own" }],
    [
      "a shared piece, wrong in one of two files, nobody knows which",
      "aabb",
      "rrxr",
      { a: "undecided", b: "undecided" }
    ],
    ["a shared piece whose other file is missing", "aabb", "rr--", { a: "undecided" }],
    ["zeros in a shared piece whose other file is missing", "aaaa aabb", "rrrr 00--", { a: "own" }],
    ["right bytes in a shared piece whose other file is missing", "aaaa aabb", "rrrr rr--", { a: "undecided" }],
    [
      "a shared piece, which proves a file with bytes in it",
      "aaaa aabb bbbb",
      "0000 rrrr 0000",
      { a: "own", b: "own" }
    ],
    [
      "a shared piece, which a file of zeros needs no proof by",
      "aaAA bbbb bbbb",
      "rrrr rrrr 0000",
      { a: "own", b: "own" }
    ],
    [
      "a right shared piece, which proves no file whose part of it is zeros",
      "aaaa aaBB bbbb",
      "rrrr rrrr 0000",
      { a: "own", b: "undecided" }
    ],
    ["a wrong file beside a right one", "aaaa bbbb", "rrrr xxxx", { a: "own", b: "foreign" }],
    ["padding, which belongs to nobody", "aa.. bbbb", "rr.. xxxx", { a: "own", b: "foreign" }],
    [
      "a wrong piece that padding fills up, whose bytes may be in no other file",
      "aa.. bbbb",
      "xx.. rrrr",
      { a: "undecided", b: "own" }
    ]
  ]
  for (const [name, drawing, disk, expected] of table) {
    test(`${drawing} | ${disk} | ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* standings(drawing, disk), expected)
      }))
  }

  const hints: ReadonlyArray<
    readonly [name: string, torrent: string, disk: string, Change, Record<string, Adoption.Standing>]
  > = [
    ["a hint, which proves nothing by itself", "aaaa aaaa", "rrrr rrrr", { hint: "**" }, { a: "undecided" }],
    ["a hint of a file that is not read, right or wrong", "aaaa aaaa", "xxxx xxxx", { hint: "*." }, { a: "undecided" }],
    ["a hint of a hole", "aaaa aaaa", "____ ____", { hint: "**" }, { a: "own" }],
    [
      "a hint of a shared piece, of which the rest is foreign",
      "aaaa bbbb",
      "rrrr xxxx",
      { hint: "*." },
      {
        a: "undecided",
        b: "foreign"
      }
    ],
    [
      "a hint that was verified, one piece wrong",
      "aaaa aaaa",
      "rrrr xxxx",
      { hint: "**", distrusts: true },
      {
        a: "own"
      }
    ],
    [
      "a hint that was verified, all wrong",
      "aaaa aaaa",
      "xxxx xxxx",
      { hint: "**", distrusts: true },
      {
        a: "foreign"
      }
    ],
    [
      "a hint that was verified, right only where it is zeros",
      "AAAA aaaa",
      "rrrr xxxx",
      { hint: "**", distrusts: true },
      {
        a: "foreign"
      }
    ]
  ]
  for (const [name, drawing, disk, change, expected] of hints) {
    test(`${drawing} | ${disk} | ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* standings(drawing, disk, change), expected)
      }))
  }

  test("an empty file is the torrent's own, whatever the other files are", () =>
    Effect.gen(function* () {
      const then = (medium: MemoryMedium["Service"]) => medium.put("t/a", new Uint8Array())

      assert.deepStrictEqual(yield* standings("aaaa bbbb", "---- xxxx", { then }), { a: "own", b: "foreign" })
    }))

  test("a file that is too long is foreign, although all of its pieces are right", () =>
    Effect.gen(function* () {
      const then = (medium: MemoryMedium["Service"]) => medium.cut("t/a", 5)

      assert.deepStrictEqual(yield* standings("aaaa bbbb", "rrrr ----", { then }), { a: "foreign" })
    }))

  test("a file that is too long is foreign, although resume data knows it and it is a hole", () =>
    Effect.gen(function* () {
      const then = (medium: MemoryMedium["Service"]) => medium.cut("t/a", 5)
      const resume = (facts: ReadonlyArray<FileFacts | undefined>) => DrawnTorrent.resumeOf("..", facts)

      assert.deepStrictEqual(yield* standings("aaaa bbbb", "____ ----", { resume, then }), { a: "foreign" })
    }))

  test("what is not a regular file is foreign", () =>
    Effect.gen(function* () {
      const then = (medium: MemoryMedium["Service"]) => medium.block("t/a")

      assert.deepStrictEqual(yield* standings("aaaa bbbb", "rrrr ----", { then }), { a: "foreign" })
    }))

  test("a file that resume data knows is the torrent's own, although the user changed it since", () =>
    Effect.gen(function* () {
      const resume = (facts: ReadonlyArray<FileFacts | undefined>) => DrawnTorrent.resumeOf("**.", facts)
      const then = (medium: MemoryMedium["Service"]) => medium.modify("t/a", 1, new Uint8Array([0, 0]))

      assert.deepStrictEqual(yield* standings("aaaa aabb bbbb", "rrrr rrrr xxxx", { resume, then }), {
        a: "own",
        b: "own"
      })
    }))

  test("a copy that kept its size and time is the file that resume data knows", () =>
    Effect.gen(function* () {
      const resume = (facts: ReadonlyArray<FileFacts | undefined>) =>
        DrawnTorrent.resumeOf(
          "..",
          facts.map((one) => one && { ...one, identity: "another disk" })
        )

      assert.deepStrictEqual(yield* standings("aaaa aaaa", "xxxx xxxx", { resume }), { a: "own" })
    }))

  test("a file that replaced one that resume data knows is foreign", () =>
    Effect.gen(function* () {
      const resume = (facts: ReadonlyArray<FileFacts | undefined>) => DrawnTorrent.resumeOf("**", facts)
      const then = (medium: MemoryMedium["Service"]) => medium.put("t/a", new Uint8Array(8).fill(0xee))

      assert.deepStrictEqual(yield* standings("aaaa aaaa", "rrrr rrrr", { resume, then }), { a: "foreign" })
    }))

  test("a file that was being written at a kill is its own under another identity if a stored piece is right", () =>
    Effect.gen(function* () {
      const resume = (facts: ReadonlyArray<FileFacts | undefined>) =>
        DrawnTorrent.resumeOf(
          "*.",
          facts.map((one) => one && { ...one, identity: "before the mount", mtimeNs: 5n }),
          { writing: [0] }
        )

      assert.deepStrictEqual(yield* standings("aaaa aaaa", "rrrr rxxx", { resume }), { a: "own" })
      assert.deepStrictEqual(yield* standings("aaaa aaaa", "xxxx rrxr", { resume }), { a: "foreign" })
    }))

  test("a file with a right stored piece is the torrent's own if resume data remembers only pieces", () =>
    Effect.gen(function* () {
      const resume = () => DrawnTorrent.resumeOf("*.", [])

      assert.deepStrictEqual(yield* standings("aaaa aaaa", "rrrr rxxx", { resume }), { a: "own" })
      assert.deepStrictEqual(yield* standings("aaaa aaaa", "xxxx rrxr", { resume }), { a: "foreign" })
    }))

  it.effect("law: without resume data only bytes decide, and no foreign or unproved file is ever called own", () =>
    Property.check(
      fc.record({
        layout: layouts,
        salt: fc.nat(1_000),
        kinds: fc.array(fc.constantFrom("right", "partly", "zeros", "wrong", "spotted", "missing", "hole"), {
          minLength: 12,
          maxLength: 12
        }),
        ends: fc.array(fc.nat(200), { minLength: 12, maxLength: 12 }),
        blankEvery: fc.integer({ min: 2, max: 9 })
      }),
      ({ blankEvery, ends, kinds, layout, salt }) =>
        Effect.gen(function* () {
          const { geometry } = layout
          const content = contentOf(layout, salt)
          for (let piece = 0; piece < geometry.pieceCount; piece++) {
            if ((piece + salt) % blankEvery === 0) {
              content.fill(0, piece * geometry.pieceLength, (piece + 1) * geometry.pieceLength)
            }
          }
          const known = yield* DrawnTorrent.knownOf(layout, content)
          /** What is on disk, by offset in the torrent; -1 if there is nothing. */
          const disk = Int16Array.from(content)
          const then = (medium: MemoryMedium["Service"]) => {
            for (const [file, { length, offset, padding }] of layout.files.entries()) {
              if (padding) continue
              const kind = kinds[file]!
              const end = kind === "missing" ? 0 : Math.min(length, kind === "right" ? length : ends[file]!)
              const bytes = content.slice(offset, offset + end)
              if (kind === "wrong") for (let at = 0; at < end; at++) bytes[at] = DrawnTorrent.wrong(bytes[at]!)
              if (kind === "spotted" && end > 0) bytes[salt % end] = DrawnTorrent.wrong(bytes[salt % end]!)
              if (kind === "zeros" || kind === "hole") bytes.fill(0)
              if (kind === "partly") bytes.fill(0, end >>> 1)
              disk.fill(-1, offset, offset + length)
              disk.set(bytes, offset)
              if (kind !== "missing") medium.put(DrawnTorrent.pathOf(layout, file), kind === "hole" ? end : bytes)
            }
          }

          const { options, standings } = yield* found(known, undefined, { then })

          const isVerified = (begin: number, end: number) =>
            content.subarray(begin, end).every((byte, at) => disk[begin + at] === byte)
          const isBlank = (begin: number, end: number) => disk.subarray(begin, end).every((byte) => byte <= 0)
          const expected = new Map<number, Adoption.Standing>()
          for (const [file, { length, offset, padding }] of layout.files.entries()) {
            if (padding || kinds[file] === "missing") continue
            const facts = options.facts[file]!
            const { end: last, first } = FileLayout.filePieces(layout, file)
            let isWhole = true
            let isProved = false
            let isOpen = false
            let isForeign = false
            for (let piece = first; piece < last; piece++) {
              const begin = piece * geometry.pieceLength
              const end = Math.min(begin + geometry.pieceLength, geometry.totalLength)
              const mine = [Math.max(begin, offset), Math.min(end, offset + length)] as const
              if (isVerified(begin, end)) {
                isProved ||= !isBlank(...mine)
                continue
              }
              isWhole = false
              isOpen ||= !isBlank(...mine)
              const isAlone = offset <= begin && end <= offset + length
              isForeign ||= isAlone && !isBlank(begin, end) && !disk.subarray(begin, end).includes(-1)
            }
            const isOwn = facts.isHole || isWhole || (isProved && !isOpen)
            expected.set(file, isOwn ? "own" : isForeign ? "foreign" : "undecided")
          }
          assert.deepStrictEqual(standings, expected)
        }),
      { layer: NodePieceHasher.layer, runs: 300 }
    )
  )

  describe("Adoption.conflict", () => {
    const conflict = Effect.fnUntraced(function* (
      drawing: string,
      disk: string,
      wanted: { readonly files: ReadonlyArray<number>; readonly pieces: string },
      change?: Change
    ) {
      const { options, standings } = yield* found(yield* DrawnTorrent.torrent(drawing), disk, change)
      const error = Adoption.conflict(options, standings, {
        files: new Set(wanted.files),
        pieces: drawn(wanted.pieces)
      })
      return error?.files.map((file) => file.path)
    })
    const all = { files: [0, 1], pieces: "***" }

    test("names a foreign file that a wanted piece would be written to, although the file itself is not wanted", () =>
      Effect.gen(function* () {
        const disk = ["aaaa aabb bbbb", "xxxx xx-- ----"] as const

        assert.deepStrictEqual(yield* conflict(...disk, all), ["t/a"])
        assert.deepStrictEqual(yield* conflict(...disk, { files: [1], pieces: ".**" }), ["t/a"])
        assert.strictEqual(yield* conflict(...disk, { files: [1], pieces: "..*" }), undefined)
      }))

    test("names no file that is own or undecided, nor a foreign one whose wanted pieces are all there", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* conflict("aaaa aabb bbbb", "rrrr 0000 0000", all), undefined)
        assert.strictEqual(yield* conflict("aaaa aaaa", "rrrr xxxx", { files: [0], pieces: "*." }), undefined)
      }))

    test("names a wanted file that is too long, although no piece would be written to it", () =>
      Effect.gen(function* () {
        const then = (medium: MemoryMedium["Service"]) => medium.cut("t/a", 6)
        const disk = ["aaaa bbbb bbbb", "rrrr rrrr rrrr"] as const

        assert.deepStrictEqual(yield* conflict(...disk, all, { then }), ["t/a"])
        assert.strictEqual(yield* conflict(...disk, { files: [1], pieces: ".**" }, { then }), undefined)
      }))

    test("names every such file, with how many of its pieces match and how much too long it is", () =>
      Effect.gen(function* () {
        const then = (medium: MemoryMedium["Service"]) => {
          medium.cut("t/a", 11)
          medium.block("t/b")
        }
        const { options, standings } = yield* found(yield* DrawnTorrent.torrent("aaaa aaaa bbbb"), "rrrr xxxx rrrr", {
          then
        })

        const error = Adoption.conflict(options, standings, { files: new Set([0, 1]), pieces: drawn("***") })

        assert.deepStrictEqual(error?.files, [
          { path: "t/a", totalPieces: 2, verifiedPieces: 1, excessBytes: 3, isOther: false },
          { path: "t/b", totalPieces: 1, verifiedPieces: 0, excessBytes: 0, isOther: true }
        ])
        assert.strictEqual(
          error?.message,
          "t/a is 3 bytes longer than the torrent's file (1 of 2 pieces match), and another file; it is left as it is"
        )
      }))
  })

  it("law: the overlaps of a piece with the files that hold it cover the piece once, except padding", () => {
    fc.assert(
      fc.property(layouts, fc.nat(), (layout, at) => {
        const piece = pieceOf(layout, at % layout.geometry.pieceCount)
        const spans = FileLayout.pieceSpans(layout, piece).filter(({ file }) => !layout.files[file]!.padding)

        const overlaps = KnownFiles.filesOf({ layout }, piece).map((file) =>
          Adoption.overlap(layout, piece, { file, length: layout.files[file]!.length })
        )

        assert.deepStrictEqual(
          overlaps,
          spans.map(({ begin, length }) => ({ begin, length }))
        )
      })
    )
  })

  it("a piece overlaps with a short file only within the file's length", () => {
    const layout = FileLayout.make({
      pieceLength: 4,
      files: [
        { path: ["a"], length: 3 },
        { path: ["b"], length: 9 }
      ]
    })

    const overlaps = [0, 1, 3, 4, 9].map((length) => Adoption.overlap(layout, pieceOf(layout, 1), { file: 1, length }))

    assert.deepStrictEqual(
      overlaps.map(({ length }) => length),
      [0, 0, 2, 3, 4]
    )
    assert.isTrue(overlaps.every(({ begin }) => begin === 0))
  })
})
