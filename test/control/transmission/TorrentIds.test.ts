import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as TorrentIds from "../../../src/control/transmission/TorrentIds.ts"
import type { SessionChanges, SessionStatus } from "../../../src/session/SessionStatus.ts"

const hashOf = (digit: number) => InfoHash.parse(`${digit}`.repeat(40))!

const torrent = (digit: number, rate = 0, addedAtMillis = 0) =>
  ({ infoHash: hashOf(digit), addedAtMillis, downloadBytesPerSecond: rate, uploadBytesPerSecond: 0 }) as SessionStatus

const changes = (
  torrents: ReadonlyArray<SessionStatus>,
  removed: ReadonlyArray<number> = [],
  isAll = false
): SessionChanges => ({ revision: "r", isAll, torrents, removed: removed.map(hashOf) })

describe("TorrentIds", () => {
  it("forgets those that are missing from all, and notes when a torrent exchanged bytes", () => {
    const ids = TorrentIds.make()
    TorrentIds.note(ids, changes([torrent(1), torrent(2, 5)], [], true), 0)
    TorrentIds.note(ids, changes([torrent(2)], [], true), 10)

    assert.deepStrictEqual(ids.removed, [{ id: 1, at: 10 }])
    assert.deepStrictEqual(TorrentIds.of(ids, torrent(2)), {
      id: 2,
      addedAtMillis: 0,
      changedAt: 10,
      transferredAt: 0
    })
  })

  it("gives another number to a torrent that was removed and added again, also within one look", () => {
    const ids = TorrentIds.make()
    TorrentIds.note(ids, changes([torrent(1)]), 0)
    TorrentIds.note(ids, changes([torrent(1, 0, 7)]), 1)

    assert.strictEqual(TorrentIds.of(ids, torrent(1))!.id, 2)
    assert.deepStrictEqual(ids.removed, [{ id: 1, at: 1 }])
  })

  it("knows which torrent a request is about that names one", () => {
    const ids = TorrentIds.make()
    TorrentIds.note(ids, changes([torrent(1), torrent(2)]), 0)
    const hash = "2".repeat(40)

    assert.deepStrictEqual(
      [2, [2], hash, [hash], "3".repeat(40)].map((asked) => TorrentIds.only(ids, asked)),
      [hash, hash, hash, hash, "3".repeat(40)]
    )
    for (const asked of [undefined, [], [1, 2], 9, "recently-active"]) assert.isUndefined(TorrentIds.only(ids, asked))
  })

  it("never gives a number twice, and one to each torrent that is there", () => {
    const step = fc.record({ added: fc.array(fc.nat(9)), removed: fc.array(fc.nat(9)), isAll: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const ids = TorrentIds.make()
        const given = new Map<number, number>()
        let there = new Set<number>()
        for (const [now, { added, isAll, removed }] of steps.entries()) {
          const gone = removed.filter((digit) => !added.includes(digit))
          TorrentIds.note(
            ids,
            changes(
              added.map((digit) => torrent(digit)),
              gone,
              isAll
            ),
            now
          )
          there = isAll ? new Set(added) : new Set([...there, ...added].filter((digit) => !gone.includes(digit)))
          for (const digit of there) {
            const { id } = TorrentIds.of(ids, torrent(digit))!
            assert.isTrue((given.get(id) ?? digit) === digit)
            given.set(id, digit)
          }
          assert.strictEqual(ids.torrents.size, there.size)
        }
      })
    )
  })
})
