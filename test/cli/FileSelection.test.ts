import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSelection from "../../src/cli/FileSelection.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { Metainfo } from "../../src/metainfo/Metainfo.ts"

/** The needed parts of a torrent with these files, of one byte each. */
const torrentOf = (...paths: ReadonlyArray<string>) =>
  ({
    name: "known",
    layout: FileLayout.make({ files: paths.map((path) => ({ path: path.split("/"), length: 1 })), pieceLength: 1 })
  }) as unknown as Metainfo

const means = (glob: string, path: string) => FileSelection.compile(glob)(path)

describe("a glob of --select", () => {
  it.each([
    ["a.mkv", "a.mkv"],
    ["*.mkv", "a.mkv"],
    ["*.mkv", ".mkv"],
    ["*", ".hidden"],
    ["s?/e??.mkv", "s1/e01.mkv"],
    ["?.mkv", "🧩.mkv"],
    ["**", "a"],
    ["**", "a/b/c"],
    ["**/*.mkv", "a.mkv"],
    ["**/*.mkv", "a/b/c.mkv"],
    ["a/**", "a/b/c"],
    ["a/**/z", "a/z"],
    ["a/**/z", "a/b/c/z"],
    ["[1080p] (a+b) {c}|$^.mkv", "[1080p] (a+b) {c}|$^.mkv"],
    ["a\\b", "a\\b"],
    ["a*", "a\nb"]
  ])("%s matches %s", (glob, path) => {
    assert.isTrue(means(glob, path))
  })

  it.each([
    ["*.mkv", "a/b.mkv"],
    ["?", "/"],
    ["a/*", "a/b/c"],
    ["a/**", "ab/c"],
    ["a/**/z", "a/bz"],
    ["**/z", "bz"],
    ["a.mkv", "axmkv"],
    ["a", "a/b"],
    ["[ab]", "a"],
    ["A", "a"]
  ])("%s does not match %s", (glob, path) => {
    assert.isFalse(means(glob, path))
  })
})

describe("FileSelection.ofGlobs", () => {
  it.effect("skips files that no glob matches", () =>
    Effect.gen(function* () {
      const torrent = torrentOf("known/a.txt", "known/b/c.bin", "known/b/d.txt")

      const all = yield* FileSelection.ofGlobs(torrent, [])
      const some = yield* FileSelection.ofGlobs(torrent, ["*.txt", "b/*.bin"])

      assert.isUndefined(all)
      assert.deepStrictEqual(some, ["normal", "normal", "skip"])
    })
  )

  it.effect("matches a single file by the torrent's name", () =>
    Effect.gen(function* () {
      const files = yield* FileSelection.ofGlobs(torrentOf("known"), ["know?"])

      assert.deepStrictEqual(files, ["normal"])
    })
  )

  it.effect("refuses a glob that matches no file", () =>
    Effect.gen(function* () {
      const { why } = yield* Effect.flip(FileSelection.ofGlobs(torrentOf("known/a"), ["a", "b/**"]))

      assert.strictEqual(why, "--select b/** matches no file of known; run piecewise info to see its files")
    })
  )
})

describe("FileSelection.ofRanges", () => {
  it.effect("selects files by their indices, and fails if none exists", () =>
    Effect.gen(function* () {
      const torrent = torrentOf("known/a", "known/b", "known/c", "known/d")

      const files = yield* FileSelection.ofRanges(torrent, [
        { first: 0, last: 0 },
        { first: 2, last: 9 }
      ])
      const { why } = yield* Effect.flip(FileSelection.ofRanges(torrent, [{ first: 4, last: 4 }]))

      assert.deepStrictEqual(files, ["normal", "skip", "normal", "normal"])
      assert.strictEqual(why, "the magnet link selects none of the files of known")
    })
  )
})
