import * as Crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as MetadataLimit from "../../src/base/MetadataLimit.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as Arbitrary from "../../src/testing/arbitrary/Metainfo.ts"

type Fields = { readonly [key: string]: Bencode.Encodable | undefined }

/** Bytes written one character each. */
const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0))

const hashes = (count: number) => new Uint8Array(20 * count).fill(0x41)

/** A valid info of one file of 40,000 bytes, changed by `fields`; `undefined` removes a key. */
const single = (fields: Fields = {}): Fields => ({
  length: 40_000,
  name: "a.bin",
  "piece length": 16_384,
  pieces: hashes(3),
  ...fields
})

/** A valid info of `files`, with as many hashes as they need. */
const multi = (files: ReadonlyArray<Fields>, fields: Fields = {}): Fields => {
  const total = files.reduce((sum, { attr, length }) => sum + (attr === "l" ? 0 : Number(length ?? 0)), 0)
  const { pieces = hashes(Math.ceil(total / 16_384)) } = fields
  return { files, name: "folder", "piece length": 16_384, ...fields, pieces }
}

const torrent = (info: Bencode.Encodable, fields: Fields = {}) => Bencode.encode({ ...fields, info })

const accept = (bytes: Uint8Array, options?: Metainfo.Options) => Result.getOrThrow(Metainfo.decode(bytes, options))

const refusal = (bytes: Uint8Array) => {
  const decoded = Metainfo.decode(bytes)
  assert.isTrue(Result.isFailure(decoded), "it was accepted")
  return Result.isFailure(decoded) ? decoded.failure.message : ""
}

const pathsOf = (structure: Metainfo.Structure) => structure.layout.files.map(({ path }) => path.join("/"))

/** A v2 leaf. */
const leaf = (length: number): Fields => ({
  "": { length, ...(length > 0 ? { "pieces root": hashes(2).slice(0, 32) } : {}) }
})

describe("Metainfo", () => {
  // The file is written out by hand after BEP 3, its info hash computed by sha1sum over the bytes from d6:length on.
  const goldenInfo = `d6:lengthi5e4:name9:hello.txt12:piece lengthi16384e6:pieces20:${"x".repeat(20)}e`
  const golden = latin1(`d8:announce22:http://one.example/ann4:info${goldenInfo}e`)

  it.effect("reads a single-file torrent, its hash over the raw bytes of info", () =>
    Effect.gen(function* () {
      const metainfo = yield* Metainfo.fromBytes(golden)

      assert.strictEqual(Bytes.toHex(metainfo.infoHash), "a60553f7cc6637e7938d217404ffd5057c9475b0")
      assert.strictEqual(metainfo.name, "hello.txt")
      const { files, geometry } = metainfo.layout
      assert.deepStrictEqual(geometry, { totalLength: 5, pieceLength: 16_384, pieceCount: 1 })
      assert.deepStrictEqual(files, [{ path: ["hello.txt"], offset: 0, length: 5, padding: false }])
      assert.deepStrictEqual(metainfo.trackers, [["http://one.example/ann"]])
      assert.strictEqual(metainfo.isPrivate, false)
      assert.deepStrictEqual(metainfo.infoBytes, latin1(goldenInfo))
      const first = PieceGeometry.pieceIndexUnsafe(metainfo.layout.geometry, 0)
      assert.deepStrictEqual(Metainfo.pieceDigest(metainfo, first), latin1("x".repeat(20)))
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it.effect("reads info alone, as peers send it for a magnet link, with the same hash", () =>
    Effect.gen(function* () {
      const whole = yield* Metainfo.fromBytes(golden)
      const alone = yield* Metainfo.fromInfoBytes(latin1(goldenInfo), {
        trackers: [["http://one.example/ann", "javascript:x"]],
        webSeeds: ["file:///etc"]
      })

      assert.deepStrictEqual(alone, whole)
      const trailing = yield* Effect.flip(Metainfo.fromInfoBytes(latin1(`${goldenInfo}x`)))
      assert.match(trailing.message, /^`info` is damaged/)
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it("keeps nothing of the caller's bytes", () => {
    const bytes = golden.slice()

    const structure = accept(bytes)
    bytes.fill(0)

    assert.deepStrictEqual(structure, accept(golden))
  })

  it("reads a torrent of several files below its name, those without bytes included", () => {
    const structure = accept(
      torrent(
        multi([
          { length: 0, path: ["empty"] },
          { length: 16_385, path: ["sub", "a"] },
          { length: 0, path: ["sub", "b"] }
        ])
      )
    )

    assert.deepStrictEqual(pathsOf(structure), ["folder/empty", "folder/sub/a", "folder/sub/b"])
    assert.deepStrictEqual(structure.layout.geometry, { totalLength: 16_385, pieceLength: 16_384, pieceCount: 2 })
  })

  it("prefers name.utf-8 and path.utf-8, unless they are not UTF-8", () => {
    const bad = Uint8Array.of(0xff, 0xfe)
    const file = { length: 1, path: [Uint8Array.of(0xe9)] }
    const good = multi([{ ...file, "path.utf-8": ["é"] }], { name: bad, "name.utf-8": "имя" })
    const fallback = multi(
      [
        { ...file, "path.utf-8": [bad] },
        { length: 1, path: ["x"], "path.utf-8": 7 }
      ],
      { "name.utf-8": bad }
    )

    assert.deepStrictEqual(pathsOf(accept(torrent(good))), ["имя/é"])
    assert.deepStrictEqual(pathsOf(accept(torrent(fallback))), ["folder/_", "folder/x"])
  })

  it("reads the fields beside info", () => {
    const structure = accept(
      torrent(single({ private: 1 }), {
        comment: "for you",
        "created by": "somebody",
        "creation date": 1_700_000_000,
        "url-list": ["https://seed.example/a b", "ftp://seed.example", "https://seed.example/a b", 5],
        httpseeds: ["http://seed.example/seed.php", "file:///etc", 5],
        nodes: [["127.0.0.1", 6881]],
        "x-unknown": { any: [1] }
      })
    )

    assert.strictEqual(structure.isPrivate, true)
    assert.strictEqual(structure.comment, "for you")
    assert.strictEqual(structure.createdBy, "somebody")
    assert.strictEqual(structure.creationDate, 1_700_000_000)
    assert.deepStrictEqual(structure.webSeeds, ["https://seed.example/a b"])
    assert.deepStrictEqual(structure.httpSeeds, ["http://seed.example/seed.php"])
    assert.deepStrictEqual(accept(torrent(single(), { "url-list": "http://one.example/" })).webSeeds, [
      "http://one.example/"
    ])
  })

  it("takes the nodes of a torrent that can be asked, each once (BEP 5)", () => {
    const structure = accept(
      torrent(single(), {
        nodes: [
          ["router.example", 6_881],
          ["127.0.0.1", 1],
          ["2001:DB8::1", 65_535],
          ["127.0.0.1", 1],
          ["0.0.0.0", 5],
          ["a b", 5],
          ["a.example", 0],
          ["a.example", 65_536],
          ["a.example", "5"],
          ["a.example"],
          [],
          "b.example:5",
          [5, 5]
        ]
      })
    )
    const many = accept(
      torrent(single(), { nodes: Array.from({ length: 1_000 }, (_, index) => ["127.0.0.1", index + 1]) })
    )

    assert.deepStrictEqual(structure.nodes, [
      { host: "router.example", port: 6_881 },
      { host: "127.0.0.1", port: 1 },
      { host: "2001:db8::1", port: 65_535 }
    ])
    assert.strictEqual(many.nodes.length, 100)
  })

  it("ignores what is of the wrong type beside info", () => {
    const structure = accept(
      torrent(single({ private: "1" }), {
        announce: 5,
        "announce-list": "http://one.example",
        comment: 1,
        "created by": [],
        "creation date": -1,
        nodes: 1,
        "url-list": 1
      })
    )

    assert.deepStrictEqual(
      { ...structure, infoBytes: 0, layout: 0, pieceDigests: 0 },
      {
        name: "a.bin",
        trackers: [],
        isPrivate: false,
        webSeeds: [],
        httpSeeds: [],
        nodes: [],
        comment: undefined,
        createdBy: undefined,
        creationDate: undefined,
        infoBytes: 0,
        layout: 0,
        pieceDigests: 0
      }
    )
  })

  it("takes the tiers of announce-list and ignores announce beside it (BEP 12)", () => {
    const structure = accept(
      torrent(single(), {
        announce: "http://alone.example",
        "announce-list": [
          [" udp://a.example:1 ", "HTTP://b.example/x", 7, "udp://a.example:1"],
          [],
          "http://not-a-tier.example",
          ["javascript:alert(1)", "file:///etc/passwd", "http://", ""],
          ["wss://c.example", "udp://a.example:1"]
        ]
      })
    )

    assert.deepStrictEqual(structure.trackers, [["udp://a.example:1", "HTTP://b.example/x"], ["wss://c.example"]])
  })

  it("falls back to announce if announce-list names no tracker", () => {
    for (const list of [[], [[]], ["http://x.example"], [["ftp://x.example"]], 5, { a: 1 }]) {
      const bytes = torrent(single(), { announce: "http://one.example", "announce-list": list })

      assert.deepStrictEqual(accept(bytes).trackers, [["http://one.example"]])
    }
  })

  it("refuses what is no torrent file, saying so", () => {
    assert.match(refusal(latin1("<html>Not found</html>")), /^this is not a torrent file: .* at byte 0$/)
    assert.match(refusal(new Uint8Array(0)), /^this is not a torrent file/)
    assert.match(refusal(latin1("le")), /no dictionary/)
    assert.match(refusal(latin1("de")), /no `info`/)
    assert.match(refusal(torrent([])), /`info` is not a dictionary/)
  })

  it("fault 1: a depth bomb is refused", () => {
    assert.match(refusal(latin1(`d4:info${"l".repeat(1_000_000)}`)), /^this is not a torrent file/)
  })

  it("fault 2: a file over the limit is refused", () => {
    const bytes = new Uint8Array(MetadataLimit.defaultMaxBytes + 1)
    bytes.set(golden)

    assert.strictEqual(refusal(bytes), "its metadata is longer than 64 MiB, the most that is accepted")
  })

  it("fault 2: the number of values that are read follows the length, and one sentence names the limit", () => {
    const good = "d6:lengthi1e4:name1:n12:piece lengthi16384e6:pieces20:01234567890123456789"
    const padding = `7:paddingl18200000:${"x".repeat(18_200_000)}e`
    const decode = (more: string) => {
      const bytes = new TextEncoder().encode(`d4:info${good}${more}1:xl${"de".repeat(3_000_100)}eee`)
      return Result.mapError(Metainfo.decode(bytes), ({ why }) => why)
    }

    const [many, tooMany] = [decode(padding), decode("")]

    assert.isTrue(Result.isSuccess(many))
    assert.deepStrictEqual(
      tooMany,
      Result.fail("its metadata has more than 3,000,000 values, the most that are accepted for its length")
    )
  })

  it("fault 2: reads as many bytes as the caller allows, of a file and of an info dict alone", () => {
    const maxBytes = golden.length
    const { infoBytes } = accept(golden)
    const why = /^its metadata is longer than 0 MiB, the most that is accepted$/

    assert.isTrue(Result.isSuccess(Metainfo.decode(golden, { maxBytes })))
    assert.match(Result.getOrThrow(Result.flip(Metainfo.decode(golden, { maxBytes: maxBytes - 1 }))).why, why)
    assert.isTrue(Result.isSuccess(Metainfo.decodeInfo(infoBytes, { maxBytes: infoBytes.length })))
    assert.match(
      Result.getOrThrow(Result.flip(Metainfo.decodeInfo(infoBytes, { maxBytes: infoBytes.length - 1 }))).why,
      why
    )
  })

  it.effect("fault 4: unordered and repeated keys load, hashed as raw bytes", () =>
    Effect.gen(function* () {
      const info = `d6:pieces20:${"x".repeat(20)}12:piece lengthi16384e4:name1:a6:lengthi5e6:lengthi6ee`

      const metainfo = yield* Metainfo.fromBytes(latin1(`d4:info${info}1:a0:e`))

      assert.strictEqual(metainfo.layout.geometry.totalLength, 5)
      assert.deepStrictEqual(Buffer.from(metainfo.infoHash), Crypto.createHash("sha1").update(latin1(info)).digest())
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it("fault 5: bytes after the root are ignored", () => {
    assert.deepStrictEqual(accept(latin1(`${Buffer.from(golden).toString("latin1")}\r\n\0trailing`)), accept(golden))
  })

  it("fault 6: hashes that do not fit the length are refused", () => {
    assert.match(
      refusal(torrent(single({ pieces: hashes(3).slice(1) }))),
      /`pieces` has 59 bytes, which is not a multiple/
    )
    assert.match(refusal(torrent(single({ pieces: hashes(2) }))), /`pieces` holds 2 hashes, .* need 3$/)
    assert.match(refusal(torrent(single({ pieces: hashes(4) }))), /`pieces` holds 4 hashes, .* need 3$/)
    assert.match(refusal(torrent(single({ pieces: "" }))), /`pieces` holds 0 hashes/)
    assert.match(refusal(torrent(single({ pieces: 60 }))), /`pieces` is not a string/)
  })

  it("fault 7: piece lengths that cannot be are refused", () => {
    for (const length of [0, -1, 536_870_913, 2n ** 63n, -(2n ** 63n)]) {
      assert.include(refusal(torrent(single({ "piece length": length }))), `\`piece length\` is ${length}`)
    }
    assert.match(refusal(torrent(single({ "piece length": "16384" }))), /`piece length` is not a number/)
  })

  it("takes any other piece length, powers of two or not", () => {
    for (const [length, count] of [
      [1, 40_000],
      [39_999, 2],
      [40_000, 1],
      [536_870_912, 1]
    ] as const) {
      const { layout } = accept(torrent(single({ "piece length": length, pieces: hashes(count) })))

      assert.strictEqual(layout.geometry.pieceCount, count)
    }
  })

  it("fault 8: too many pieces and lengths beyond 2^53 are refused", () => {
    const exact = single({ length: 2_097_152, "piece length": 1, pieces: hashes(2_097_152) })
    const over = single({ length: 2_097_153, "piece length": 1, pieces: hashes(1) })
    const half = { length: 2 ** 52, path: ["a"] }

    assert.strictEqual(accept(torrent(exact)).layout.geometry.pieceCount, Metainfo.maxPieceCount)
    assert.match(refusal(torrent(over)), /2097153 pieces, more than the 2097152/)
    assert.match(
      refusal(torrent(single({ length: 2n ** 53n }))),
      /`length` is 9007199254740992, which is 2\^53 or more/
    )
    assert.match(refusal(torrent(multi([half, half], { pieces: hashes(1) }))), /add up to 2\^53 bytes or more/)
  })

  it("fault 9: no files and no bytes are refused, files without bytes are not", () => {
    assert.match(refusal(torrent(multi([]))), /`files` is empty/)
    assert.match(refusal(torrent(single({ length: 0, pieces: "" }))), /nothing to download/)
    assert.match(refusal(torrent(multi([{ length: 0, path: ["a"] }]))), /nothing to download/)
    assert.match(refusal(torrent(single({ length: -1 }))), /`length` is negative/)
    assert.match(refusal(torrent(single({ length: undefined }))), /neither `length` nor `files`/)
    assert.strictEqual(
      accept(
        torrent(
          multi([
            { length: 0, path: ["a"] },
            { length: 1, path: ["b"] }
          ])
        )
      ).layout.files.length,
      2
    )
  })

  it("fault 10: length beside files is refused", () => {
    assert.match(refusal(torrent(multi([{ length: 5, path: ["a"] }], { length: 5 }))), /both `length` and `files`/)
  })

  it("refuses files that are not described, naming the entry", () => {
    const good = { length: 1, path: ["a"] }
    const cases: ReadonlyArray<readonly [Fields, RegExp]> = [
      [{ path: ["b"] }, /`length` of `files` entry 1 is missing/],
      [{ length: -5, path: ["b"] }, /`length` of `files` entry 1 is negative/],
      [{ length: "5", path: ["b"] }, /`length` of `files` entry 1 is not a number/],
      [{ length: 5 }, /entry 1 has no `path`/],
      [{ length: 5, path: [] }, /entry 1 has no `path`/],
      [{ length: 5, path: "b" }, /`path` of `files` entry 1 is not a list of strings/],
      [{ length: 5, path: ["b", 1] }, /`path` of `files` entry 1 is not a list of strings/]
    ]

    for (const [file, why] of cases) assert.match(refusal(torrent(multi([good, file], { pieces: hashes(1) }))), why)
    assert.match(refusal(torrent({ ...multi([good]), files: [5] })), /`files` entry 0 is not a dictionary/)
    assert.match(refusal(torrent({ ...multi([good]), files: "a" })), /`files` is not a list/)
  })

  it("refuses a missing name, and an empty one where it names the file", () => {
    assert.match(refusal(torrent(single({ name: undefined }))), /no `name`/)
    assert.match(refusal(torrent(single({ name: "" }))), /`name` is empty/)
    assert.strictEqual(accept(torrent(multi([{ length: 1, path: ["a"] }], { name: "" }))).name, "_")
  })

  it("fault 12: hostile names stay below the download folder", () => {
    const structure = accept(
      torrent(
        multi(
          [
            { length: 1, path: ["..", "..", "etc", "passwd"] },
            { length: 1, path: ["/abs"] },
            { length: 1, path: [".."] }
          ],
          { name: "../x" }
        )
      )
    )

    assert.deepStrictEqual(pathsOf(structure), ["..x/etc/passwd", "..x/abs", "..x/_"])
    assert.strictEqual(accept(torrent(single({ name: "/" }))).name, "_")
  })

  it("fault 14: Windows' rules apply if they are asked for", () => {
    const bytes = torrent(multi([{ length: 1, path: ["nul.txt"] }], { name: "C:" }))

    assert.deepStrictEqual(pathsOf(accept(bytes)), ["C:/nul.txt"])
    assert.deepStrictEqual(pathsOf(accept(bytes, { platform: "windows" })), ["C_/_nul.txt"])
  })

  it("fault 17: 100,000 equal paths are refused", () => {
    const files = Array.from({ length: 100_000 }, () => ({ length: 1, path: ["same"] }))

    assert.match(refusal(torrent(multi(files))), /have the same path/)
  })

  it("fault 19: a link that would leave the torrent is confined to it", () => {
    const targets: ReadonlyArray<readonly [given: ReadonlyArray<string>, confined: ReadonlyArray<string>]> = [
      [["..", "x"], ["x"]],
      [["a", "..", "..", "x"], ["x"]],
      [["/etc/passwd"], ["etcpasswd"]],
      [["a/../../b"], ["a....b"]],
      [["..\\x"], ["..x"]],
      [["a\0"], ["a_"]],
      [["..", "/.."], ["_"]]
    ]
    for (const [given, confined] of targets) {
      const files = [
        { length: 1, path: ["a"] },
        { attr: "l", length: 0, path: ["link"], "symlink path": given }
      ]

      assert.deepStrictEqual(accept(torrent(multi(files))).layout.files[1]?.symlink, confined)
    }
  })

  it("refuses the target of a link that is no list of strings", () => {
    const files = [
      { length: 1, path: ["a"] },
      { attr: "l", length: 0, path: ["link"], "symlink path": [5] }
    ]

    assert.match(refusal(torrent(multi(files))), /`symlink path` of `files` entry 1 is not a list of strings/)
  })

  it("fault 19: a link within the torrent is reported, and is in no file", () => {
    const { layout } = accept(
      torrent(
        multi([
          { attr: "l", length: 9, path: ["x"], "symlink path": ["sub", ".", "y", "..", "a"] },
          { length: 1, path: ["x"] },
          { attr: "lx", path: ["cyclic"], "symlink path": ["cyclic"] },
          { attr: "l", path: ["no target"] }
        ])
      )
    )

    assert.deepStrictEqual(layout.files, [
      { path: ["folder", "x"], offset: 0, length: 0, padding: true, symlink: ["sub", "a"] },
      { path: ["folder", "x"], offset: 0, length: 1, padding: false },
      { path: ["folder", "cyclic"], offset: 1, length: 0, padding: true, symlink: ["cyclic"] },
      { path: ["folder", "no target"], offset: 1, length: 0, padding: false }
    ])
  })

  it("marks padding, BitComet's too, and lets it share a path (BEP 47)", () => {
    const { layout } = accept(
      torrent(
        multi([
          { length: 1, path: [".pad", "3"] },
          { attr: "p", length: 3, path: [".pad", "3"] },
          { length: 1, path: ["b"] },
          { attr: "hp", length: 3 },
          { length: 2, path: ["_____padding_file_0_if you see this file"] }
        ])
      )
    )

    assert.deepStrictEqual(
      layout.files.map(({ padding, path }) => [path.join("/"), padding]),
      [
        ["folder/.pad/3", false],
        ["folder/.pad/3", true],
        ["folder/b", false],
        ["folder/.pad/3", true],
        ["folder/.pad/2", true]
      ]
    )
  })

  it("keeps at most a thousand trackers and web seeds", () => {
    const urls = Array.from({ length: 1_500 }, (_, index) => `http://t${index}.example/`)
    const { trackers, webSeeds } = accept(
      torrent(single(), {
        "announce-list": [urls.slice(0, 700), urls.slice(700), ["http://last.example/"]],
        "url-list": urls
      })
    )

    assert.deepStrictEqual(
      trackers.map((tier) => tier.length),
      [700, 300]
    )
    assert.strictEqual(webSeeds.length, 1_000)
  })

  describe("with version 2 (BEP 52)", () => {
    const files = [
      { length: 5, path: ["a"] },
      { attr: "p", length: 16_379, path: [".pad", "16379"] },
      { length: 7, path: ["d", "b"] }
    ]
    const tree = { a: leaf(5), d: { b: leaf(7) } }
    const hybrid = (fields: Fields = {}) => multi(files, { "meta version": 2, "file tree": tree, ...fields })

    it("loads a hybrid as version 1", () => {
      assert.deepStrictEqual(pathsOf(accept(torrent(hybrid()))), ["folder/a", "folder/.pad/16379", "folder/d/b"])
      const one = single({ "meta version": 2, "file tree": { "a.bin": leaf(40_000) } })
      assert.deepStrictEqual(pathsOf(accept(torrent(one))), ["a.bin"])
    })

    it("fault 4: keys of info out of order are refused", () => {
      const ordered = Bencode.encode(hybrid())
      const text = Buffer.from(ordered).toString("latin1")
      const swapped = text.replace(/(12:piece lengthi16384e)(6:pieces40:A{40})/, "$2$1")

      assert.notStrictEqual(swapped, text)
      assert.match(refusal(latin1(`d4:info${swapped}e`)), /keys that are not in order/)
      assert.isTrue(
        Result.isSuccess(Metainfo.decode(latin1(`d4:info${text}1:a0:e`))),
        "order beside info does not matter"
      )
    })

    it("fault 7: a piece length that is no power of two or below 16 KiB is refused", () => {
      for (const length of [16_385, 8_192]) {
        assert.match(refusal(torrent(hybrid({ "piece length": length }))), /power of two of at least 16384/)
      }
    })

    it("fault 10: a hybrid whose halves disagree is refused", () => {
      const trees: ReadonlyArray<Fields> = [
        { a: leaf(6), d: { b: leaf(7) } },
        { a: leaf(5), d: { c: leaf(7) } },
        { a: leaf(5), b: leaf(7) },
        { a: leaf(5), d: { b: leaf(7), c: leaf(0) } },
        { a: leaf(5) }
      ]

      for (const other of trees) assert.match(refusal(torrent(hybrid({ "file tree": other }))), /`file tree`/)
    })

    it("fault 10: a hybrid whose files begin elsewhere in version 1 is refused", () => {
      const padding = (length: number) => ({ attr: "p", length, path: [".pad", `${length}`] })
      const of = (...files: ReadonlyArray<Bencode.Encodable>) => torrent(hybrid({ files, pieces: hashes(3) }))
      const unpadded = multi([files[0]!, files[2]!], { "meta version": 2, "file tree": tree, pieces: hashes(1) })

      assert.match(refusal(torrent(unpadded)), /^`files` entry 1 does not begin where `file tree` has it/)
      assert.match(refusal(of(files[0]!, padding(16_379 + 16_384), files[2]!)), /^`files` entry 2 does not begin where/)
      assert.match(refusal(of(padding(16_384), ...files)), /^`files` entry 1 does not begin where/)
    })

    it("accepts a hybrid with padding after its last file, and with files without bytes", () => {
      const padded = [...files, { attr: "p", length: 16_377, path: [".pad", "16377"] }]
      const empty = [{ length: 0, path: ["0"] }, ...files, { length: 0, path: ["z"] }]

      assert.strictEqual(accept(torrent(hybrid({ files: padded }))).layout.files.length, 4)
      assert.strictEqual(
        accept(torrent(hybrid({ files: empty, "file tree": { "0": leaf(0), ...tree, z: leaf(0) } }))).layout.files
          .length,
        5
      )
    })

    it("refuses an invalid tree", () => {
      const trees: ReadonlyArray<Bencode.Encodable | undefined> = [
        undefined,
        [],
        { a: 5 },
        { a: { "": 5 } },
        { a: { ...leaf(5), b: leaf(5) } },
        { "": { length: 5 } },
        { a: { "": { length: -5 } } },
        { a: { "": { length: 5 } } },
        { a: { "": { length: 5, "pieces root": "short" } } },
        { a: { "": { length: 5, attr: "p", "pieces root": hashes(2).slice(0, 32) } } }
      ]

      for (const other of trees) assert.match(refusal(torrent(hybrid({ "file tree": other }))), /^`file tree`/)
    })

    it("fault 11: piece layers are not trusted: what they say changes nothing", () => {
      for (const layers of [{}, { short: "x" }, 5, new Map([["\xff".repeat(32), "y".repeat(31)]])]) {
        assert.deepStrictEqual(accept(torrent(hybrid(), { "piece layers": layers })), accept(torrent(hybrid())))
      }
    })

    it("refuses version 2 alone, and versions nobody knows", () => {
      const alone = { "meta version": 2, "file tree": tree, name: "folder", "piece length": 16_384 }

      assert.match(refusal(torrent(alone)), /torrent of version 2 alone \(BEP 52\)/)
      assert.match(refusal(torrent(hybrid({ "meta version": 3 }))), /`meta version` is 3/)
      assert.match(refusal(torrent(hybrid({ "meta version": undefined }))), /`file tree` is there without/)
    })
  })

  it("every damage is refused with a sentence that names the field", () => {
    fc.assert(
      fc.property(Arbitrary.damagedMetainfo, ({ bytes, field }) => {
        assert.include(refusal(bytes), `\`${field}\``)
      }),
      { numRuns: 200 }
    )
  })

  it("whatever the bytes, it answers", () => {
    fc.assert(
      fc.property(
        Arbitrary.metainfo,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
        ({ bytes }, changes) => {
          const damaged = bytes.slice()
          for (const [at, byte] of changes) damaged[at % damaged.length] = byte

          const decoded = Metainfo.decode(damaged)

          if (Result.isFailure(decoded)) assert.isAbove(decoded.failure.why.length, 10)
          else assert.strictEqual(decoded.success.pieceDigests.length, 20 * decoded.success.layout.geometry.pieceCount)
        }
      ),
      { numRuns: 300 }
    )
  })
})
