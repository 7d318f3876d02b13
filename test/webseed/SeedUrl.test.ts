import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as SeedUrl from "../../src/webseed/SeedUrl.ts"

const layoutOf = (...paths: ReadonlyArray<ReadonlyArray<string>>) =>
  FileLayout.make({ files: paths.map((path) => ({ path, length: 10, padding: false })), pieceLength: 16_384 })

const ofFile = (seed: string, layout: FileLayout.FileLayout, file = 0) =>
  SeedUrl.ofFile(new URL(seed), layout, file).href

describe("SeedUrl", () => {
  it("is that of the file of a single-file torrent, or of the folder that has it if it ends in a slash", () => {
    const single = layoutOf(["a b.iso"])

    assert.strictEqual(ofFile("http://s.example/x/other.iso", single), "http://s.example/x/other.iso")
    assert.strictEqual(ofFile("http://s.example/x/", single), "http://s.example/x/a%20b.iso")
    assert.strictEqual(ofFile("http://s.example", single), "http://s.example/a%20b.iso")
  })

  it("is that of the folder of several files, with or without a slash", () => {
    const several = layoutOf(["t", "a"], ["t", "b", "c"])

    for (const seed of ["http://s.example/x", "http://s.example/x/"]) {
      assert.strictEqual(ofFile(seed, several, 0), "http://s.example/x/t/a")
      assert.strictEqual(ofFile(seed, several, 1), "http://s.example/x/t/b/c")
    }
    // A folder with one file is no single-file torrent.
    assert.strictEqual(ofFile("http://s.example/x", layoutOf(["t", "a"])), "http://s.example/x/t/a")
  })

  it("escapes what is not a letter or a digit, and keeps the query behind the path", () => {
    const odd = layoutOf(["t", "a b#c?d%e&f+g;h'(i)!*é"], ["t", "x"])

    assert.strictEqual(
      ofFile("http://s.example/x?key=1#part", odd),
      "http://s.example/x/t/a%20b%23c%3Fd%25e%26f%2Bg%3Bh%27%28i%29%21%2A%C3%A9?key=1"
    )
  })

  it("has a path that decodes to that of the file, whatever its name", () => {
    const component = fc.string({ minLength: 1, unit: "binary" }).filter((text) => !/^\.{1,2}$|[/\\]/.test(text))
    fc.assert(
      fc.property(fc.array(component, { minLength: 2, maxLength: 4 }), (path) => {
        const url = new URL(ofFile("http://s.example/", layoutOf(path)))
        assert.deepStrictEqual(url.pathname.split("/").slice(1).map(decodeURIComponent), path)
      })
    )
  })

  it("does not exist for a path that would lead to another folder", () => {
    for (const path of [
      ["t", "..", "x"],
      ["t", ".", "x"],
      ["t", "", "x"],
      ["t", "\ud800"]
    ]) {
      assert.isFalse(SeedUrl.hasUrl(layoutOf(path), 0))
    }
    assert.isTrue(SeedUrl.hasUrl(layoutOf(["t", "..x"]), 0))
  })

  it("of a piece adds its parameters to the query (BEP 17)", () => {
    const infoHash = Uint8Array.from({ length: 20 }, (_, index) => index * 13) as InfoHash

    const bare = SeedUrl.ofPiece(new URL("http://s.example/seed"), infoHash, 3, 0, 99)
    const more = SeedUrl.ofPiece(new URL("http://s.example/seed?a=b"), infoHash, 3, 0, 99)

    const hash = "%00%0D%1A%27%34%41%4E%5B%68%75%82%8F%9C%A9%B6%C3%D0%DD%EA%F7"
    assert.strictEqual(bare.search, `?info_hash=${hash}&piece=3&ranges=0-99`)
    assert.strictEqual(more.search, `?a=b&info_hash=${hash}&piece=3&ranges=0-99`)
  })

  it("has a name without secrets", () => {
    const url = new URL("https://user:password@s.example:8080/x/?token=1#y")

    assert.strictEqual(SeedUrl.nameOf({ kind: "files", url, isTrusted: true }), "web seed https://s.example:8080/x/")
  })
})
