import { assert, describe, it } from "@effect/vitest"
import * as Usefulness from "../../src/swarm/Usefulness.ts"

const session = (name: string, lastUseful: number, lastServed: number, peerInterested: boolean) => ({
  name,
  protocol: { lastUseful, lastServed, peerInterested }
})

describe("Usefulness", () => {
  it("is least for who brought nothing for longest while something is wanted", () => {
    const sessions = [session("old", 1_000, 9_000, true), session("idle", 500, 9_000, true)]

    const least = Usefulness.least(sessions, false)

    assert.strictEqual(least?.name, "idle")
  })

  it("is least for who wants nothing while seeding, and then for who was given nothing for longest", () => {
    const bored = session("bored", 0, 9_000, false)
    const waiting = [session("served", 0, 5_000, true), session("unserved", 0, 1_000, true)]

    const names = [[...waiting, bored], waiting, []].map((sessions) => Usefulness.least(sessions, true)?.name)

    assert.deepStrictEqual(names, ["bored", "unserved", undefined])
  })
})
