import { assert, describe, it } from "@effect/vitest"
import * as Usefulness from "../../src/swarm/Usefulness.ts"

const now = 1_000_000
const long = now - Usefulness.uselessAfter

const isUseless = (peer: Usefulness.Peer, isFinished: boolean, isAsking = true): boolean =>
  Usefulness.of(peer, { isFinished, isAsking }, now).isUseless

describe("Usefulness", () => {
  it("is counted from the last useful block while something is wanted, and from the last upload while seeding", () => {
    const peer = { lastUseful: now - 7, lastServed: now - 9, peerInterested: true }

    const idle = [false, true].map((isFinished) => Usefulness.of(peer, { isFinished, isAsking: true }, now).idleMillis)

    assert.deepStrictEqual(idle, [7, 9])
  })

  it("ends while something is wanted: two minutes after the last useful block, unless nothing is asked for", () => {
    const peer = { lastUseful: long, lastServed: now, peerInterested: true }

    const useless = [
      isUseless(peer, false),
      isUseless({ ...peer, lastUseful: long + 1 }, false),
      isUseless(peer, false, false)
    ]

    assert.deepStrictEqual(useless, [true, false, false])
  })

  it("ends while seeding: two minutes after the last upload, unless the peer waits for its turn", () => {
    const peer = { lastUseful: now, lastServed: long, peerInterested: false }

    const useless = [isUseless(peer, true), isUseless({ ...peer, peerInterested: true }, true)]

    assert.deepStrictEqual(useless, [true, false])
  })
})
