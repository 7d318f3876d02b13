import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as PeerScript from "../../src/testing/arbitrary/PeerScript.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { small } from "./torrents.ts"

const { geometry } = small.metainfo.layout

/** A seed, the network, and peers of which one is reliable. */
const swarm = fc.record({
  seed: fc.nat(),
  latency: fc.constantFrom(0, 1, 30, 200),
  bufferBytes: fc.constantFrom(65_536, 131_072, 400_000, 67_108_864),
  failingWrites: fc.constantFrom(0, 0, 0.2, 0.6),
  writeMillis: fc.constantFrom(0, 0, 50, 2_000),
  reliable: PeerScript.honest,
  others: fc.array(fc.oneof(PeerScript.peerScript(geometry), PeerScript.damaged(geometry)), { maxLength: 8 })
})

/** Whether the peer never sends anything that an engine may hold against it. */
const isInnocent = ({ corrupts, misanswers }: PeerBehaviour) => corrupts === undefined && misanswers === undefined

describe("a random swarm", () => {
  it.effect(
    "downloads the whole torrent if one peer is reliable, whoever else is in it",
    () =>
      Property.check(
        swarm,
        Effect.fnUntraced(function* ({ bufferBytes, failingWrites, latency, others, reliable, seed, writeMillis }) {
          const scripts = [...others, reliable]

          const summary = yield* Swarms.run({
            seed,
            torrent: small,
            peers: scripts.map(({ behaviour }) => behaviour),
            link: { latency },
            engine: { bufferBytes },
            script: ({ faults }) =>
              Effect.sync(() => {
                faults.failSometimes("write", failingWrites, FaultyStorage.inputOutputError)
                faults.delay("write", writeMillis)
              }),
            limit: "60 minutes"
          })

          assert.isTrue(summary.isComplete, `not complete after an hour: ${JSON.stringify(summary.status)}`)
          assert.isTrue(summary.isRight)
          assert.isTrue(summary.writes.every((writes) => writes === 1))
          assert.isTrue(summary.counters.at(-1)!.complaints.length === 0, summary.counters.at(-1)!.complaints[0])
          const banned = summary.events.flatMap((event) => (event._tag === "PeerBanned" ? [event.address.host] : []))
          const innocent = scripts.flatMap(({ behaviour }, index) => (isInnocent(behaviour) ? [`10.0.0.${index}`] : []))
          assert.deepStrictEqual(
            banned.filter((host) => innocent.includes(host)),
            []
          )
        }),
        { runs: 100 }
      ),
    300_000
  )
})
