import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { Metainfo } from "../../src/metainfo/Metainfo.ts"
import * as MetainfoSummary from "../../src/metainfo/MetainfoSummary.ts"

const metainfo: Metainfo = {
  name: "album",
  infoHash: InfoHash.fromHex("0123456789abcdef0123456789abcdef01234567")!,
  layout: FileLayout.make({
    pieceLength: 16_384,
    files: [
      { path: ["album", "a.bin"], length: 16_000 },
      { path: ["album", ".pad", "384"], length: 384, padding: true },
      { path: ["album", "b", "c.bin"], length: 20_000 }
    ]
  }),
  pieceDigests: new Uint8Array(60),
  trackers: [["http://a.example/announce"]],
  isPrivate: true,
  webSeeds: [],
  httpSeeds: ["http://b.example/seed.php"],
  nodes: [],
  comment: undefined,
  createdBy: "test",
  creationDate: 1_000_000_000,
  infoBytes: new Uint8Array(3)
}

describe("MetainfoSummary", () => {
  it("has the files without padding, and in JSON null for what the torrent does not say", () => {
    const summary = MetainfoSummary.of(metainfo)

    const json = Schema.encodeSync(Schema.toCodecJson(MetainfoSummary.MetainfoSummary))(summary)

    assert.deepStrictEqual(json, {
      name: "album",
      infoHash: "0123456789abcdef0123456789abcdef01234567",
      totalBytes: 36_384,
      pieceLength: 16_384,
      pieces: 3,
      isPrivate: true,
      trackers: [["http://a.example/announce"]],
      webSeeds: [],
      httpSeeds: ["http://b.example/seed.php"],
      nodes: [],
      comment: null,
      createdBy: "test",
      creationDate: "2001-09-09T01:46:40.000Z",
      files: [
        { path: "album/a.bin", length: 16_000 },
        { path: "album/b/c.bin", length: 20_000 }
      ]
    })
  })

  it("has no date that is too far away", () => {
    assert.isUndefined(MetainfoSummary.dateOf(2 ** 52))
    assert.isUndefined(MetainfoSummary.dateOf(undefined))
  })
})
