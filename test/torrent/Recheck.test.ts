import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { Metainfo } from "../../src/metainfo/Metainfo.ts"
import type { ResumeData } from "../../src/resume/ResumeStore.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Recheck from "../../src/torrent/Recheck.ts"
import { draw, drawn } from "../resume/ResumeStore.suite.ts"
import { contentOf, layout as layouts, piecesOf, sliceOf } from "../storage/layouts.ts"
import * as DrawnTorrent from "./drawnTorrent.ts"

const test = <E>(name: string, program: () => Effect.Effect<void, E, PieceHasher | Scope.Scope>) =>
  it.effect(name, () => Effect.suspend(program).pipe(Effect.scoped, Effect.provide(NodePieceHasher.layer)))

/** A torrent and its disk, and how to check it. */
const make = Effect.fnUntraced(function* (drawing: string, disk: string) {
  const known = yield* DrawnTorrent.torrent(drawing)
  const { look, medium, storage } = yield* DrawnTorrent.open(known, disk)
  const digested: Array<number> = []
  const progress: Array<readonly [checked: number, total: number]> = []
  const check = Effect.fnUntraced(function* (
    resume: ResumeData | undefined,
    options: { readonly hint?: string; readonly distrusts?: boolean } = {}
  ) {
    const found = yield* Recheck.run({
      metainfo: known.metainfo,
      storage: {
        digests: (pieces) => Stream.tap(storage.digests(pieces), ({ piece }) => Effect.sync(() => digested.push(piece)))
      },
      resume,
      hint: options.hint === undefined ? undefined : drawn(options.hint),
      distrusts: options.distrusts,
      facts: yield* look,
      onProgress: (checked, total) => progress.push([checked, total])
    })
    const { doubtful, flushed, hinted, present, stored, zeros } = found
    return {
      ...(hinted !== undefined && { hinted: draw(hinted) }),
      stored: draw(stored),
      doubtful: draw(doubtful),
      flushed: draw(flushed),
      present: draw(present),
      zeros: draw(zeros)
    }
  })
  return { check, digested, look, medium, progress }
})

const nothing = { stored: "....", doubtful: "....", flushed: "....", present: "....", zeros: "...." }

describe("Recheck", () => {
  test("without resume data digests every existing file, and reports its progress", () =>
    Effect.gen(function* () {
      const { check, digested, progress } = yield* make("aaaa aaaa bbbb cccc", "rrrr xxxx rr-- ----")

      const found = yield* check(undefined)

      assert.deepStrictEqual(found, { ...nothing, stored: "*...", present: "**.." })
      assert.deepStrictEqual(digested, [0, 1])
      assert.deepStrictEqual(progress, [
        [0, 2],
        [1, 2],
        [2, 2]
      ])
    }))

  test("finds pieces of zeros, right or wrong, and the short last piece among them", () =>
    Effect.gen(function* () {
      const { check } = yield* make("aaaa AAAA aaaa aa", "0000 rrrr 0r00 00")

      const found = yield* check(undefined)

      assert.deepStrictEqual(found, { ...nothing, stored: ".*..", present: "****", zeros: "**.*" })
    }))

  test("trusts files that look as remembered, reads nothing and reports no progress", () =>
    Effect.gen(function* () {
      const { check, digested, look, progress } = yield* make("aaaa aabb bbbb cccc", "rrrr rrrr rrrr ----")

      const found = yield* check(DrawnTorrent.resumeOf("***.", yield* look, { flushed: "*.*." }))

      assert.deepStrictEqual(found, { ...nothing, stored: "***.", flushed: "*.*." })
      assert.deepStrictEqual([digested, progress], [[], []])
    }))

  test("believes a hint until later, and takes the other pieces of its files as missing", () =>
    Effect.gen(function* () {
      const { check, digested, progress } = yield* make("aaaa aaaa aaaa bbbb", "rrrr xxxx rrrr rrrr")

      const found = yield* check(undefined, { hint: "**.." })

      assert.deepStrictEqual(found, { ...nothing, stored: "**.*", doubtful: "**..", hinted: "**..", present: "...*" })
      assert.deepStrictEqual(digested, [3])
      assert.deepStrictEqual(progress.at(-1), [1, 1])
    }))

  test("trusts what resume data remembers, and believes the rest of a hint until later", () =>
    Effect.gen(function* () {
      const { check, digested, look, medium } = yield* make("aaaa aaaa bbbb bbbb", "rrrr rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("*.**", yield* look, { flushed: "*.*." })
      medium.touch("t/b")

      const found = yield* check(resume, { hint: "****" })

      // The other file was touched, so its pieces are hints again.
      assert.deepStrictEqual(found, { ...nothing, stored: "****", doubtful: ".***", hinted: ".***", flushed: "*..." })
      assert.deepStrictEqual(digested, [])
    }))

  test("believes no hint of bytes that are missing, of a file that it does not speak for, or in a recheck", () =>
    Effect.gen(function* () {
      const { check, digested } = yield* make("aaaa aabb bbbb cccc", "rrrr rrxx xxxx ----")

      const shared = yield* check(undefined, { hint: ".*.*" })
      const recheck = yield* check(undefined, { hint: "****", distrusts: true })

      assert.deepStrictEqual(shared, {
        ...nothing,
        stored: "**..",
        doubtful: ".*..",
        hinted: ".*..",
        present: "*.*."
      })
      assert.deepStrictEqual(recheck, { ...nothing, stored: "*...", present: "***." })
      assert.deepStrictEqual(digested, [0, 2, 0, 1, 2])
    }))

  test("trusts a copy that kept its size and time", () =>
    Effect.gen(function* () {
      const { check, digested, look } = yield* make("aaaa aaaa bbbb bbbb", "rrrr rrrr rrrr rrrr")
      const facts = (yield* look).map((one) => one && { ...one, identity: `before ${one.identity}` })

      const found = yield* check(DrawnTorrent.resumeOf("****", facts))

      assert.strictEqual(found.stored, "****")
      assert.deepStrictEqual(digested, [])
    }))

  test("fault 49: digests every piece of a file that looks different, and only those", () =>
    Effect.gen(function* () {
      const { check, digested, look, medium } = yield* make("aaaa aabb bbbb cccc", "rrrr rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("**.*", yield* look)
      medium.modify("t/b", 0, new Uint8Array(1))

      const found = yield* check(resume)

      assert.deepStrictEqual(found, { ...nothing, stored: "*.**", flushed: "*..*", present: ".**." })
      assert.deepStrictEqual(digested, [1, 2])
    }))

  test("fault 49: finds out that a file was cut, and which pieces are left of it", () =>
    Effect.gen(function* () {
      const { check, digested, look, medium } = yield* make("aaaa aaaa aaaa bbbb", "rrrr rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("****", yield* look)
      medium.cut("t/a", 7)

      const found = yield* check(resume)

      assert.deepStrictEqual(found, { ...nothing, stored: "*..*", flushed: "...*", present: "*..." })
      assert.deepStrictEqual(digested, [0])
    }))

  test("counts no piece that reaches into a file that is missing or not a regular file", () =>
    Effect.gen(function* () {
      const { check, digested, look, medium } = yield* make("aaaa aabb bbcc cccc", "rrrr rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("****", yield* look)
      medium.remove("t/a")
      medium.block("t/c")

      const found = yield* check(resume)

      assert.deepStrictEqual(found, nothing)
      assert.deepStrictEqual(digested, [])
    }))

  test("of a file that was being written digests unflushed pieces at once, and trusts the others until later", () =>
    Effect.gen(function* () {
      const { check, digested, look, medium } = yield* make("aaaa aaaa aaaa bbbb", "rrrr rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("****", yield* look, { flushed: "*.**", writing: [0] })
      medium.modify("t/a", 4, new Uint8Array(4))

      const found = yield* check(resume)

      assert.deepStrictEqual(found, {
        stored: "*.**",
        doubtful: "*.*.",
        flushed: "*.**",
        present: ".*..",
        zeros: ".*.."
      })
      assert.deepStrictEqual(digested, [1])
    }))

  test("of a file that was being written and was cut trusts nothing beyond its end", () =>
    Effect.gen(function* () {
      const { check, digested, look, medium } = yield* make("aaaa aaaa aaaa bbbb", "rrrr rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("****", yield* look, { writing: [0] })
      medium.cut("t/a", 7)

      const found = yield* check(resume)

      assert.deepStrictEqual(found, { ...nothing, stored: "*..*", doubtful: "*...", flushed: "*..*" })
      assert.deepStrictEqual(digested, [])
    }))

  test("of a file that was being written and was replaced digests everything", () =>
    Effect.gen(function* () {
      const { check, digested, look, medium } = yield* make("aaaa aaaa aaaa bbbb", "rrrr rrrr rrrr rrrr")
      const resume = DrawnTorrent.resumeOf("**.*", yield* look, { writing: [0] })
      medium.replace("t/a")

      const found = yield* check(resume)

      assert.deepStrictEqual(found, { ...nothing, stored: "****", flushed: "...*", present: "***." })
      assert.deepStrictEqual(digested, [0, 1, 2])
    }))

  test("fault 52: after a restart of the machine digests what was not flushed, although its file looks the same", () =>
    Effect.gen(function* () {
      const { check, digested, look } = yield* make("aaaa aaaa bbbb bbbb", "rrrr 0000 rrrr ----")

      const found = yield* check(DrawnTorrent.resumeOf("***.", yield* look, { flushed: "*...", isSameBoot: false }))

      assert.deepStrictEqual(found, {
        stored: "*.*.",
        doubtful: "....",
        flushed: "*...",
        present: ".**.",
        zeros: ".*.."
      })
      assert.deepStrictEqual(digested, [1, 2])
    }))

  test("fault 50: does not trust resume data that remembers no files", () =>
    Effect.gen(function* () {
      const { check, digested } = yield* make("aaaa aaaa bbbb bbbb", "rrrr xxxx rrrr ----")

      const found = yield* check(DrawnTorrent.resumeOf("****", []))

      assert.deepStrictEqual(found, { ...nothing, stored: "*.*.", present: "***." })
      assert.deepStrictEqual(digested, [0, 1, 2])
    }))

  test("neither trusts nor digests pieces that resume data does not name", () =>
    Effect.gen(function* () {
      const { check, digested, look } = yield* make("aaaa aaaa aaaa bbbb", "rrrr rrrr rrrr ----")

      const found = yield* check(DrawnTorrent.resumeOf("..*.", yield* look))

      assert.strictEqual(found.stored, "..*.")
      assert.deepStrictEqual(digested, [])
    }))

  it.effect(
    "law: the pieces that it finds are right, whatever was done to the files, and no known right piece is lost",
    () =>
      Property.check(
        fc.record({
          layout: layouts,
          salt: fc.nat(1_000),
          isSameBoot: fc.boolean(),
          edits: fc.array(
            fc.record({ file: fc.nat(), kind: fc.constantFrom("modify", "cut", "remove", "replace", "touch") })
          )
        }),
        ({ edits, isSameBoot, layout, salt }) =>
          Effect.gen(function* () {
            const content = contentOf(layout, salt)
            const known = yield* DrawnTorrent.knownOf(layout, content)
            const { look, medium, storage } = yield* DrawnTorrent.open(known)
            const real = FileLayout.realFiles(layout)
            fc.pre(real.length > 0)
            for (const file of real) {
              const { length, offset } = layout.files[file]!
              if ((file + salt) % 5 !== 0)
                medium.put(DrawnTorrent.pathOf(layout, file), content.slice(offset, offset + length))
            }
            const isRight = (piece: number) => {
              const bytes = new Uint8Array(sliceOf(layout, content, piecesOf(layout)[piece]!).length)
              for (const { begin, file, fileOffset, length } of FileLayout.pieceSpans(
                layout,
                piecesOf(layout)[piece]!
              )) {
                if (layout.files[file]!.padding) continue
                const there = medium.read(DrawnTorrent.pathOf(layout, file))
                if (there === undefined || there.length < fileOffset + length) return false
                bytes.set(there.subarray(fileOffset, fileOffset + length), begin)
              }
              return Bytes.equals(bytes, sliceOf(layout, content, piecesOf(layout)[piece]!))
            }
            const stored = Bitfield.make(layout.geometry.pieceCount)
            const flushed = Bitfield.make(layout.geometry.pieceCount)
            for (const piece of piecesOf(layout)) {
              if (!isRight(piece) || (piece + salt) % 3 === 0) continue
              Bitfield.add(stored, piece)
              if ((piece + salt) % 2 === 0) Bitfield.add(flushed, piece)
            }
            const files = DrawnTorrent.resumeOf(
              "",
              (yield* look).filter((_, file) => (file + salt) % 4 !== 0)
            ).files
            const resume: ResumeData = { stored, flushed, files, isSameBoot }
            for (const edit of edits) {
              const path = DrawnTorrent.pathOf(layout, real[edit.file % real.length]!)
              const bytes = medium.read(path)
              if (bytes === undefined) continue
              if (edit.kind === "modify") medium.modify(path, bytes.length >>> 1, new Uint8Array([edit.file]))
              else if (edit.kind === "cut") medium.cut(path, bytes.length >>> 1)
              else medium[edit.kind as "remove" | "replace" | "touch"](path)
            }

            const found = yield* Recheck.run({
              metainfo: known.metainfo,
              storage,
              resume,
              facts: yield* look,
              onProgress: () => {}
            })

            for (const piece of piecesOf(layout)) {
              if (Bitfield.has(found.stored, piece)) assert.isTrue(isRight(piece), `piece ${piece} is not right`)
              else if (Bitfield.has(stored, piece)) assert.isFalse(isRight(piece), `piece ${piece} was lost`)
              if (Bitfield.has(found.flushed, piece)) assert.isTrue(Bitfield.has(flushed, piece), `${piece} is flushed`)
            }
            assert.strictEqual(found.doubtful.count, 0)
          }),
        { layer: NodePieceHasher.layer }
      )
  )

  it.live("checks two million missing pieces within seconds, and reports a hundred times", () =>
    Effect.gen(function* () {
      const pieceLength = 16_384
      const length = 2_097_152 * pieceLength
      const layout = FileLayout.make({ pieceLength, files: [{ path: ["large"], length }] })
      const facts = { file: 0, kind: "file", length, mtimeNs: 1n, identity: "1" } as FileFacts
      let reports = 0
      const begin = performance.now()

      const found = yield* Recheck.run({
        metainfo: { layout } as Metainfo,
        storage: {
          digests: (pieces) => Stream.map(Stream.fromIterable(pieces), (piece) => ({ piece, sha1: undefined }))
        },
        resume: undefined,
        facts: [facts],
        onProgress: () => reports++
      })

      assert.strictEqual(found.stored.count, 0)
      assert.isAtMost(reports, 101)
      assert.isAbove(reports, 90)
      assert.isBelow(performance.now() - begin, 20_000)
    }).pipe(Effect.provide(NodePieceHasher.layer))
  )
})
