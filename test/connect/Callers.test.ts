import { assert, describe, it } from "@effect/vitest"
import * as Callers from "../../src/connect/Callers.ts"

describe("callers without a handshake", () => {
  it("are counted if they call again a while later, once each", () => {
    const callers = Callers.make()
    const calls: ReadonlyArray<readonly [string, number]> = [
      ["10.0.0.1", 0],
      ["10.0.0.1", Callers.pause - 1],
      ["2001:db8::1", Callers.pause],
      ["10.0.0.1", Callers.pause],
      ["10.0.0.1", 2 * Callers.pause],
      ["2001:db8::2", 2 * Callers.pause]
    ]

    const counts = calls.map(([host, now]) => {
      Callers.note(callers, host, now)
      return Callers.count(callers, now)
    })

    assert.deepStrictEqual(counts, [0, 0, 0, 1, 1, 2])
  })

  it("are not counted if they scan ports, and push out those that have been silent for longest", () => {
    const callers = Callers.make()
    for (const now of [0, Callers.pause]) Callers.note(callers, "10.0.0.1", now)
    const before = Callers.count(callers, Callers.pause)

    for (let host = 0; host < 3 * Callers.maxCallers; host++) {
      Callers.note(callers, `10.1.${host >>> 8}.${host & 255}`, Callers.pause)
    }

    const after = Callers.count(callers, Callers.pause)
    assert.deepStrictEqual([before, after, callers.hosts.size], [1, 0, Callers.maxCallers])
  })

  it("are forgotten an hour after their last call", () => {
    const callers = Callers.make()
    for (const now of [0, Callers.pause]) Callers.note(callers, "10.0.0.1", now)

    const counts = [Callers.memory + Callers.pause - 1, Callers.memory + Callers.pause].map((now) =>
      Callers.count(callers, now)
    )

    assert.deepStrictEqual([counts, callers.hosts.size], [[1, 0], 0])
  })
})
