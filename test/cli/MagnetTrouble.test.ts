import { assert, describe, it } from "@effect/vitest"
import * as MagnetTrouble from "../../src/cli/MagnetTrouble.ts"
import type { MetadataProgress } from "../../src/engine/Engine.ts"

const nothing: MetadataProgress = {
  peers: 0,
  knownPeers: 0,
  closedPeers: 0,
  encryption: "off",
  isAskingElsewhere: false
}

describe("MagnetTrouble", () => {
  it("says for whoever gives up what is known about why the metadata was not found", () => {
    const troubles = MagnetTrouble.make(2)
    const why = (progress: Partial<MetadataProgress>) =>
      MagnetTrouble.whyNotFound(troubles, { ...nothing, ...progress })

    const before = why({})
    MagnetTrouble.note(troubles, { _tag: "Failed", source: "http://one.example", why: "connection refused" })
    const failing = why({})
    MagnetTrouble.note(troubles, { _tag: "Failed", source: "http://one.example", why: "unknown", isFinal: true })
    MagnetTrouble.note(troubles, { _tag: "Failed", source: "http://two.example", why: "unknown", isFinal: true })

    assert.deepStrictEqual(
      [before, failing, why({}), why({ knownPeers: 3, closedPeers: 2 }), why({ knownPeers: 3, peers: 1 })],
      [
        "no peers were found",
        "no peers: http://one.example: connection refused",
        "no tracker serves this torrent: http://two.example: unknown",
        "2 peers closed at once; they may require encryption, which is off",
        "none of 3 known peers has sent it"
      ]
    )
  })
})
