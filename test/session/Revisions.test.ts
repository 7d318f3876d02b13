import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as Revisions from "../../src/session/Revisions.ts"
import type { SessionStatus } from "../../src/session/SessionStatus.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"

const { hashOf, torrentOf } = SessionDrawing

const statusOf = (number: number, name = "a"): SessionStatus => {
  const { wanted: _, ...torrent } = torrentOf(number, { name })
  return {
    ...torrent,
    state: { _tag: "Active", state: { _tag: "Downloading" } },
    shareRatio: 0,
    downloadBytesPerSecond: 0,
    uploadBytesPerSecond: 0,
    connectedPeers: 0
  }
}

const numbersOf = (torrents: ReadonlyArray<SessionStatus>) => torrents.map(({ infoHash }) => infoHash[0])

describe("Revisions", () => {
  it("say what has changed since a list, and nothing of what looks as before", () => {
    const self = Revisions.make("x")
    for (const number of [3, 1, 2]) Revisions.note(self, statusOf(number))
    const list = Revisions.list(self)
    for (const number of [1, 2, 3]) Revisions.note(self, statusOf(number))
    const same = Revisions.since(self, list.revision)
    Revisions.note(self, statusOf(2, "b"))
    Revisions.note(self, statusOf(4))
    Revisions.remove(self, hashOf(1))

    const changes = Revisions.since(self, list.revision)

    assert.deepStrictEqual(numbersOf(list.torrents), [1, 2, 3])
    assert.deepStrictEqual(same, { revision: list.revision, isAll: false, torrents: [], removed: [] })
    assert.deepStrictEqual([changes.isAll, numbersOf(changes.torrents)], [false, [2, 4]])
    assert.deepStrictEqual(changes.removed, [hashOf(1)])
    assert.notStrictEqual(changes.revision, list.revision)
  })

  it("do not count it as a change that a torrent goes on seeding, and list for how long it has", () => {
    const self = Revisions.make("x")
    const seeding = (seedingMillis: number) => ({
      ...statusOf(1),
      statistics: { downloadedBytes: 1, uploadedBytes: 2, seedingMillis }
    })
    Revisions.note(self, seeding(1_000))
    const { revision } = Revisions.list(self)
    Revisions.note(self, seeding(2_000))

    assert.deepStrictEqual(Revisions.since(self, revision).torrents, [])
    assert.deepStrictEqual(Revisions.list(self).torrents, [seeding(2_000)])
    Revisions.note(self, { ...seeding(2_000), connectedPeers: 1 })
    assert.strictEqual(Revisions.since(self, revision).torrents.length, 1)
  })

  it("give everything to whoever asks from another session, from the future, or with another text", () => {
    const self = Revisions.make("x")
    Revisions.note(self, statusOf(1))

    for (const revision of ["y.1", "x.2", "x.-1", "x.1e0", "x", "", "x.0x1"]) {
      const { isAll, torrents } = Revisions.since(self, revision)
      assert.deepStrictEqual([isAll, torrents.length], [true, 1], revision)
    }
    assert.isFalse(Revisions.since(self, "x.0").isAll)
  })

  it("forget old removals, and give everything to whoever asks from before them", () => {
    const self = Revisions.make("x")
    const { revision } = Revisions.list(self)
    for (let index = 0; index <= Revisions.maxRemoved; index++) {
      Revisions.note(self, statusOf(1))
      Revisions.remove(self, hashOf(1))
    }

    assert.isTrue(Revisions.since(self, revision).isAll)
    assert.strictEqual(self.removed.length, Revisions.maxRemoved)
    assert.isFalse(Revisions.since(self, Revisions.list(self).revision).isAll)
  })

  it("lead from any list to the present one", () => {
    const step = fc.record({ number: fc.integer({ min: 1, max: 4 }), name: fc.constantFrom("a", "b", undefined) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.array(step, { maxLength: 20 }), (before, after) => {
        const self = Revisions.make("x")
        const take = (steps: typeof before) => {
          for (const { name, number } of steps) {
            if (name === undefined) Revisions.remove(self, hashOf(number))
            else Revisions.note(self, statusOf(number, name))
          }
          return Revisions.list(self)
        }
        const list = take(before)
        const present = take(after)
        const known = new Map(list.torrents.map((status) => [InfoHash.toHex(status.infoHash), status]))

        const { isAll, removed, revision, torrents } = Revisions.since(self, list.revision)

        for (const infoHash of removed) known.delete(InfoHash.toHex(infoHash))
        for (const status of torrents) known.set(InfoHash.toHex(status.infoHash), status)
        assert.isFalse(isAll)
        assert.strictEqual(revision, present.revision)
        assert.deepStrictEqual(
          [...known.values()].sort((one, other) => one.position - other.position),
          present.torrents
        )
      })
    )
  })
})
