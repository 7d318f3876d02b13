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

  it("names a tracker that failed before the DHT, and the DHT if there is no tracker", () => {
    const dht = { _tag: "Failed", source: "DHT", why: "no node of the DHT answers" } as const
    const alone = MagnetTrouble.make(0)
    MagnetTrouble.note(alone, dht)
    const both = MagnetTrouble.make(1)
    MagnetTrouble.note(both, { _tag: "Failed", source: "http://one.example", why: "unknown", isFinal: true })
    MagnetTrouble.note(both, dht)

    assert.deepStrictEqual(
      [alone, both].map((troubles) => MagnetTrouble.of(troubles, nothing)),
      [
        { _tag: "SourcesFailing", source: "DHT", why: "no node of the DHT answers" },
        { _tag: "TrackersRefused", source: "http://one.example", why: "unknown" }
      ]
    )
  })
})
