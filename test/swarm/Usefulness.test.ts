import { assert, describe, it } from "@effect/vitest"
import * as Usefulness from "../../src/swarm/Usefulness.ts"

const session = (name: string, lastUseful: number, lastServed: number, peerInterested: boolean) => ({
  name,
  protocol: { lastUseful, lastServed, peerInterested }
})

describe("Usefulness", () => {
  it("is least for the peer that sent nothing for longest while something is wanted", () => {
    const sessions = [session("old", 1_000, 9_000, true), session("idle", 500, 9_000, true)]

    const least = Usefulness.least(sessions, false)

    assert.strictEqual(least?.name, "idle")
  })

  it("is least for peers that want nothing while seeding, then for the one that received nothing for longest", () => {
    const bored = session("bored", 0, 9_000, false)
    const waiting = [session("served", 0, 5_000, true), session("unserved", 0, 1_000, true)]

    const names = [[...waiting, bored], waiting, []].map((sessions) => Usefulness.least(sessions, true)?.name)

    assert.deepStrictEqual(names, ["bored", "unserved", undefined])
  })

  describe("names the session that has to leave", () => {
    const now = 1_000_000
    const useless = now - Usefulness.uselessAfter

    it("while something is wanted: useless for two minutes, if an address waits that may be better", () => {
      const options = { isFinished: false, now }
      const sessions = [session("idle", useless, now, true), session("useful", now, 0, true)]

      const names = [
        Usefulness.replaceable(sessions, { ...options, next: { failures: 0 } }),
        Usefulness.replaceable(sessions, { ...options, next: { failures: Usefulness.maxFailuresForPlace } }),
        Usefulness.replaceable(sessions, { ...options, next: undefined }),
        Usefulness.replaceable([session("idle", useless + 1, now, true)], { ...options, next: { failures: 0 } })
      ].map((replaced) => replaced?.name)

      assert.deepStrictEqual(names, ["idle", undefined, undefined, undefined])
    })

    it("while seeding: one that wants nothing, whether or not an address waits", () => {
      const options = { isFinished: true, now, next: undefined }

      const names = [session("bored", 0, useless, false), session("waiting", 0, useless, true)].map(
        (one) => Usefulness.replaceable([one], options)?.name
      )

      assert.deepStrictEqual(names, ["bored", undefined])
    })
  })
})
