import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as IoDaemonProtocol from "../../src/io-daemon/IoDaemonProtocol.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as SafePath from "../../src/metainfo/SafePath.ts"
import { layoutOf } from "../storage/layouts.ts"

const digest = Uint8Array.from({ length: 20 }, (_, index) => index * 13)

describe("IoDaemonProtocol", () => {
  it("describes the bytes of a write as RFC 9110 section 14.4 does", () => {
    assert.strictEqual(IoDaemonProtocol.contentRange(0, 1), "bytes 0-0/*")
    assert.strictEqual(IoDaemonProtocol.contentRange(1_048_576, 16_384), "bytes 1048576-1064959/*")
  })

  it("describes the bytes of a read as RFC 9110 section 14.2 does", () => {
    assert.strictEqual(IoDaemonProtocol.range(500, 500), "bytes=500-999")
  })

  it("writes a digest as RFC 9530 section 2 does", () => {
    const sha1OfHello = Uint8Array.from(Buffer.from("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "hex"))

    assert.strictEqual(IoDaemonProtocol.contentDigest(sha1OfHello), "sha=:qvTGHdzF6KLavt4PO0gs2a6pQ00=:")
  })

  it("registers files in order, padding without a path", () => {
    const layout = layoutOf(16, ["t/a", 10], ["t/.pad/6", 6, "padding"], ["t/empty", 0])

    assert.deepStrictEqual(JSON.parse(IoDaemonProtocol.registration(layout, "downloads")), {
      root: "downloads",
      files: [
        { path: ["t", "a"], length: 10 },
        { path: [], length: 6, padding: true },
        { path: ["t", "empty"], length: 0 }
      ],
      allocate: false
    })
  })

  it("registers with a folder for skipped files, and says which they are", () => {
    const layout = layoutOf(16, ["t/a", 10], ["t/b", 6])
    const aside = { folder: [".hidden", "parts"], skipped: [1] }

    assert.deepStrictEqual(JSON.parse(IoDaemonProtocol.registration(layout, "downloads", aside)), {
      root: "downloads",
      files: [
        { path: ["t", "a"], length: 10 },
        { path: ["t", "b"], length: 6 }
      ],
      allocate: false,
      aside: [".hidden", "parts"],
      skipped: [1]
    })
    assert.deepStrictEqual(JSON.parse(IoDaemonProtocol.prepareBody([1])), { skipped: [1] })
  })

  it("registers files by their portable names, with the others that they may have", () => {
    const given = [
      ["t", "a:b"],
      ["t", "Make"],
      ["t", "make", "x"],
      ["t", "c\u200bd"],
      ["t", "e\\f"]
    ]
    const names = Result.getOrThrow(SafePath.sanitize(given))
    const layout = FileLayout.make({ files: names.map((name) => ({ ...name, length: 1 })), pieceLength: 1 })

    const { files, rivals } = JSON.parse(IoDaemonProtocol.registration(layout, "downloads"))

    assert.deepStrictEqual(
      files.map(({ path }: { readonly path: ReadonlyArray<string> }) => path.join("/")),
      ["t/a_b", "t/Make.1", "t/make/x", "t/cd", "t/ef"]
    )
    assert.deepStrictEqual(rivals, [
      [{ file: 0, own: ["t", "a:b"] }],
      [{ folder: ["t", "make"] }, { file: 1, own: ["t", "Make"] }],
      [{ file: 3, original: ["t", "c\u200bd"] }],
      // A separator of Windows is no part of a name for the daemon.
      [{ file: 4 }]
    ])
  })

  it("lists files, and how they are claimed", () => {
    const facts = { length: 5, mtimeNs: 1_700_000_000_123_456_789n, identity: "1:2" }

    assert.deepStrictEqual(JSON.parse(IoDaemonProtocol.filesBody([0, 2])), { files: [0, 2] })
    assert.deepStrictEqual(JSON.parse(IoDaemonProtocol.reserveBody([1], true)), { files: [1], again: true })
    assert.deepStrictEqual(
      JSON.parse(
        IoDaemonProtocol.claimsBody([
          { file: 0, as: "new" },
          { file: 1, as: "found", facts: { ...facts, isHole: true } as typeof facts },
          { file: 2, as: "again", identity: "1:2", length: 4 }
        ])
      ),
      {
        claims: [
          { file: 0, as: "new" },
          { file: 1, as: "found", facts: { length: 5, mtimeNs: "1700000000123456789", identity: "1:2" } },
          { file: 2, as: "again", identity: "1:2", length: 4 }
        ]
      }
    )
    assert.deepStrictEqual(JSON.parse(IoDaemonProtocol.renameBody(1, ["a", "b"], undefined)), {
      file: 1,
      path: ["a", "b"]
    })
  })

  const facts = {
    kind: "file" as const,
    length: 5,
    mtimeNs: "1700000000123456789",
    identity: "1:2",
    isHole: false,
    isAside: true,
    otherNames: 1
  }
  const known = { ...facts, mtimeNs: 1_700_000_000_123_456_789n }

  it("reads the outcome of a file: its facts, that it is missing, or why there are none", () => {
    const refusal = { kind: "writer_conflict", message: "m", path: "a", holder: "another process" }
    const decode = (told: unknown) => IoDaemonProtocol.decodeFile(JSON.stringify(told))

    assert.deepStrictEqual(decode(facts), Result.succeed({ facts: known }))
    assert.deepStrictEqual(decode(null), Result.succeed({ facts: undefined }))
    assert.deepStrictEqual(decode({ error: refusal }), Result.succeed({ refusal }))
    assert.deepStrictEqual(
      IoDaemonProtocol.decodeFiles(JSON.stringify([{ file: 3, ...facts }])),
      Result.succeed([{ file: 3, ...known }])
    )
  })

  it.each([
    "",
    "{}",
    "[]",
    '{"error":{}}',
    JSON.stringify({ ...facts, mtimeNs: "1e9" }),
    JSON.stringify({ ...facts, mtimeNs: 5 }),
    JSON.stringify({ ...facts, identity: "x".repeat(65) }),
    JSON.stringify({ ...facts, kind: "folder" })
  ])("takes %j for nothing that is said of a file", (line) => {
    assert.isTrue(Result.isFailure(IoDaemonProtocol.decodeFile(line)))
    assert.isTrue(Result.isFailure(IoDaemonProtocol.decodeFiles(`[${line === "[]" ? "0" : line || "0"}]`)))
  })

  it("reads a digest, and null for what is not stored", () => {
    const line = JSON.stringify(Buffer.from(digest).toString("base64"))

    assert.deepStrictEqual(IoDaemonProtocol.decodeDigest(line), Result.succeed(digest))
    assert.deepStrictEqual(IoDaemonProtocol.decodeDigest("null"), Result.succeed(undefined))
  })

  it.each(["", "{}", '""', '"AAAA"', "nul", '"qvTGHdzF6KLavt4PO0gs2a6pQ00=', '"qvTGHdzF6KLavt4PO0gs2a6pQ0=="'])(
    "refuses %j as a digest",
    (line) => assert.isTrue(Result.isFailure(IoDaemonProtocol.decodeDigest(line)))
  )

  it("law: any line is a digest, nothing, or refused", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
        const decoded = IoDaemonProtocol.decodeDigest(line)
        return Result.isFailure(decoded) || decoded.success === undefined || decoded.success.length === 20
      })
    )
  })

  it("reads a refusal with the file it blames", () => {
    const body = '{"kind":"disk_full","message":"the disk is full","path":"a/b","why":"it is full","more":1}'

    assert.deepStrictEqual(IoDaemonProtocol.decodeRefusal(507, body), {
      kind: "disk_full",
      message: "the disk is full",
      path: "a/b",
      why: "it is full"
    })
  })

  it.each(["", "<html>", "[]", '{"kind":5}', "null"])("reads a refusal of another program by its status: %j", (body) =>
    assert.deepStrictEqual(IoDaemonProtocol.decodeRefusal(502, body), { kind: "unknown", message: "HTTP status 502" })
  )
})
