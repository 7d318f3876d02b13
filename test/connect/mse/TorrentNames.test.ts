import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import * as TorrentNames from "../../../src/connect/mse/TorrentNames.ts"

const infoHash = new Uint8Array(20).fill(3) as InfoHash
const name = createHash("sha1").update("req2").update(infoHash).digest()

describe("TorrentNames", () => {
  it("finds a torrent by its digest, until all that serve it have been removed", () => {
    const torrents = TorrentNames.make()
    const before = TorrentNames.find(torrents, name)

    TorrentNames.add(torrents, infoHash)
    TorrentNames.add(torrents, infoHash)
    TorrentNames.remove(torrents, infoHash)
    const during = TorrentNames.find(torrents, name)
    TorrentNames.remove(torrents, infoHash)

    assert.deepStrictEqual([before, during, TorrentNames.find(torrents, name)], [undefined, infoHash, undefined])
    assert.strictEqual(torrents.size, 0)
  })
})
