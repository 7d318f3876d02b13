import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Bytes from "../../src/base/Bytes.ts"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"

// Its keys are not in order, so it must be kept as it is.
const info = Bytes.fromText(`d6:pieces20:${"x".repeat(20)}4:name1:a6:lengthi5e12:piece lengthi16384ee`)

const found = Result.getOrThrow(
  Metainfo.decodeInfo(info, {
    trackers: [["http://one.example/a", "udp://two.example:1/a"], ["http://three.example/a"]],
    webSeeds: ["http://seed.example/"],
    httpSeeds: ["http://seed.example/x"],
    nodes: [{ host: "192.0.2.1", port: 6_881 }]
  })
)

const reread = (contents: TorrentFile.Contents) => Result.getOrThrow(Metainfo.decode(TorrentFile.encode(contents)))

describe("TorrentFile", () => {
  it("says what the metainfo does, with the same bytes of its info dictionary", () => {
    const full = { ...found, comment: "c", createdBy: "b", creationDate: 7 }

    const read = reread(full)

    for (const key of Object.keys(full) as Array<keyof typeof full>) {
      if (key !== "layout") assert.deepStrictEqual(read[key], full[key], key)
    }
  })

  it("is in canonical form around the info dictionary", () => {
    const bytes = TorrentFile.encode({ ...found, infoBytes: Bencode.encode({ name: "a" }) })

    assert.isTrue(Result.getOrThrow(Bencode.decode(bytes)).ordered)
  })

  it("leaves out what is empty", () => {
    const empty = { ...found, trackers: [], webSeeds: [], httpSeeds: [], nodes: [] }

    assert.deepStrictEqual(
      TorrentFile.encode(empty),
      Bytes.concat([Bytes.fromText("d4:info"), info, Bytes.fromText("e")])
    )
    assert.deepStrictEqual(reread(empty).trackers, [])
  })
})
