import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as FileTree from "../../src/metainfo/FileTree.ts"

const root = new Uint8Array(32).fill(1)

const file = (length: number) => ({ "": { length, "pieces root": root } })

const flatten = (tree: Bencode.Encodable) =>
  FileTree.flatten(Result.getOrThrow(Bencode.decode(Bencode.encode(tree))).value)

describe("FileTree", () => {
  it("returns the files of a tree in its order, folder by folder", () => {
    const files = Result.getOrThrow(
      flatten({ b: file(2), a: { z: file(1), d: { e: file(3) } }, "a.": { "": { length: 0 } } })
    )

    assert.deepStrictEqual(files, [
      { path: ["a", "d", "e"], length: 3 },
      { path: ["a", "z"], length: 1 },
      { path: ["a."], length: 0 },
      { path: ["b"], length: 2 }
    ])
  })

  it("keeps names as bytes", () => {
    assert.deepStrictEqual(Result.getOrThrow(flatten({ é: file(1) })), [{ path: ["\u00c3\u00a9"], length: 1 }])
  })

  it("takes a link for a file without bytes", () => {
    const files = Result.getOrThrow(flatten({ a: { "": { attr: "l", "symlink path": ["b"] } } }))

    assert.deepStrictEqual(files, [{ path: ["a"], length: 0 }])
  })

  it("says where an invalid tree is wrong", () => {
    const cases: ReadonlyArray<readonly [Bencode.Encodable, string]> = [
      [[], "`file tree` is missing or not a dictionary"],
      [{ a: { b: 1 } }, '`file tree` at "a/b" is neither a file nor a folder'],
      [{ a: { ...file(1), b: file(1) } }, '`file tree` at "a" is both a file and a folder'],
      [{ a: { "": { attr: "p", length: 1, "pieces root": root } } }, '`file tree` at "a" is padding'],
      [{ a: { "": { length: 2n ** 60n, "pieces root": root } } }, '`file tree` at "a" has no valid `length`'],
      [
        { a: { "": { length: 1, "pieces root": root.slice(1) } } },
        '`file tree` at "a" has no `pieces root` of 32 bytes'
      ]
    ]

    for (const [tree, why] of cases) {
      const flattened = flatten(tree)
      assert.strictEqual(Result.isFailure(flattened) ? flattened.failure : "accepted", why)
    }
  })

  it("shows the names of a wrong node as text, and no more of them than fits in a line", () => {
    const name = "é".repeat(100)

    const flattened = flatten({ [name]: { b: 1 } })

    assert.strictEqual(
      Result.isFailure(flattened) && flattened.failure,
      `\`file tree\` at "${"é".repeat(30)}/b" is neither a file nor a folder`
    )
  })

  it("takes no longer for files in a folder of a hostile name", () => {
    const files = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`f${index}`, { "": { length: 0 } }]))
    const tree = Result.getOrThrow(Bencode.decode(Bencode.encode({ ["x".repeat(1_000_000)]: files }))).value
    const begin = performance.now()

    const flattened = Result.getOrThrow(FileTree.flatten(tree))

    assert.strictEqual(flattened.length, 2_000)
    // It took 8 s when each file made a sentence of its path.
    assert.isBelow(performance.now() - begin, 4_000)
  })

  it("knows the piece lengths of version 2", () => {
    assert.deepStrictEqual([16_383, 16_384, 16_385, 24_576, 32_768, 2 ** 29].map(FileTree.isPieceLength), [
      false,
      true,
      false,
      false,
      true,
      true
    ])
  })
})
