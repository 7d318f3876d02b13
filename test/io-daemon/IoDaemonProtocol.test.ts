import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as IoDaemonProtocol from "../../src/io-daemon/IoDaemonProtocol.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as SafePath from "../../src/metainfo/SafePath.ts"
import { layoutOf } from "../storage/layouts.ts"

const digest = Uint8Array.from({ length: 20 }, (_, index) => index * 13)

describe("IoDaemonProtocol", () => {
  it("names the bytes of a write as RFC 9110 section 14.4 does", () => {
    assert.strictEqual(IoDaemonProtocol.contentRange(0, 1), "bytes 0-0/*")
    assert.strictEqual(IoDaemonProtocol.contentRange(1_048_576, 16_384), "bytes 1048576-1064959/*")
  })

  it("names the bytes of a read as RFC 9110 section 14.2 does", () => {
    assert.strictEqual(IoDaemonProtocol.range(500, 500), "bytes=500-999")
  })

  it("names a digest as RFC 9530 section 2 does", () => {
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

  it("registers files by their portable names", () => {
    const names = Result.getOrThrow(SafePath.sanitize([["a:b"], ["Read.me"], ["READ.ME"]]))
    const layout = FileLayout.make({ files: names.map((name) => ({ ...name, length: 1 })), pieceLength: 1 })

    const { files } = JSON.parse(IoDaemonProtocol.registration(layout, "downloads"))

    assert.deepStrictEqual(files, [
      { path: ["a_b"], length: 1 },
      { path: ["Read.me"], length: 1 },
      { path: ["READ.1.ME"], length: 1 }
    ])
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

  it.each(["", "<html>", "[]", '{"kind":5}', "null"])("tells a refusal of somebody else by its status: %j", (body) =>
    assert.deepStrictEqual(IoDaemonProtocol.decodeRefusal(502, body), { kind: "unknown", message: "HTTP status 502" })
  )
})
