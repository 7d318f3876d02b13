import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { TorrentStatus } from "../../src/torrent/TorrentStatus.ts"
import { seed, small } from "./torrents.ts"

/** Returns whether a value is the same after it was sent as JSON. */
const sentThrough = <A>(schema: Schema.Codec<A, unknown>) => {
  const text = Schema.fromJsonString(Schema.toCodecJson(schema))
  const encode = Schema.encodeSync(text)
  const decode = Schema.decodeUnknownSync(text)
  const isSame = Schema.toEquivalence(schema)
  return (value: A): boolean => isSame(decode(encode(value)), value)
}

const isSameEvent = sentThrough(TorrentEvent)
const isSameStatus = sentThrough(TorrentStatus)

describe("what a torrent reports over a wire", () => {
  it.effect("is what it was, event for event and status for status, with a liar and a full disk", () =>
    Swarms.use(
      { seed, link: { latency: "20 millis", bytesPerSecond: 200_000 } },
      Effect.fnUntraced(function* (world) {
        const behaviours = [PeerBehaviour.honest, { corrupts: "every block" } as const]
        const download = yield* world.download(small, { behaviours })
        const statuses: Array<TorrentStatus> = []
        yield* download.torrent.status.pipe(
          Effect.map((status) => statuses.push(status)),
          Effect.delay("200 millis"),
          Effect.forever,
          Effect.forkScoped
        )

        yield* world.advance("2 seconds")
        world.faults.failAll("write", FaultyStorage.diskFull)
        yield* world.advance("10 seconds")
        world.faults.recover("write")
        yield* world.until(download.isComplete, "1 minute")

        for (const event of download.events) assert.isTrue(isSameEvent(event), JSON.stringify(event))
        for (const status of statuses) assert.isTrue(isSameStatus(status), JSON.stringify(status))
        assert.includeMembers(
          download.events.map(({ _tag }) => _tag),
          ["PieceRejected", "PeerBanned", "StorageFailed", "StorageRecovered", "Completed"]
        )
        assert.includeMembers(
          statuses.map(({ state }) => state._tag),
          ["Downloading", "StorageFailing"]
        )
      })
    )
  )
})
