import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as QueueMoves from "../../../src/control/transmission/QueueMoves.ts"

/** The queue after moves, each of which sees what those before it have done. */
const moved = (queue: ReadonlyArray<number>, moves: ReadonlyArray<QueueMoves.Move<number>>): ReadonlyArray<number> => {
  let order = [...queue]
  for (const { place, torrent } of moves) {
    order = order.filter((other) => other !== torrent)
    const at = place === "first" ? 0 : place === "last" ? order.length : order.indexOf(place.before)
    order.splice(at, 0, torrent)
  }
  return order
}

const queues = fc.uniqueArray(fc.nat(20)).chain((queue) => fc.tuple(fc.constant(queue), fc.subarray(queue)))

describe("QueueMoves", () => {
  it("puts the chosen torrents at an end, in their order", () => {
    fc.assert(
      fc.property(queues, ([queue, chosen]) => {
        const others = queue.filter((torrent) => !chosen.includes(torrent))

        assert.deepStrictEqual(moved(queue, QueueMoves.moves(queue, new Set(chosen), "top")), [...chosen, ...others])
        assert.deepStrictEqual(moved(queue, QueueMoves.moves(queue, new Set(chosen), "bottom")), [...others, ...chosen])
      })
    )
  })

  it("moves each chosen torrent by one place, unless only chosen ones are before it, and down as the mirror of up", () => {
    fc.assert(
      fc.property(queues, ([queue, chosen]) => {
        const up = moved(queue, QueueMoves.moves(queue, new Set(chosen), "up"))
        const down = moved(queue, QueueMoves.moves(queue, new Set(chosen), "down"))
        const mirrored = queue.toReversed()
        const stuck = queue.findIndex((torrent) => !chosen.includes(torrent))

        for (const torrent of chosen) {
          const at = queue.indexOf(torrent)
          assert.strictEqual(up.indexOf(torrent), stuck < 0 || at < stuck ? at : at - 1)
        }
        assert.deepStrictEqual(down, moved(mirrored, QueueMoves.moves(mirrored, new Set(chosen), "up")).toReversed())
      })
    )
  })

  it("moves a torrent to a place", () => {
    assert.deepStrictEqual(moved([1, 2, 3], [QueueMoves.toPlace([1, 2, 3], 3, 0)]), [3, 1, 2])
    assert.deepStrictEqual(moved([1, 2, 3], [QueueMoves.toPlace([1, 2, 3], 1, 1)]), [2, 1, 3])
    assert.deepStrictEqual(moved([1, 2, 3], [QueueMoves.toPlace([1, 2, 3], 1, 9)]), [2, 3, 1])
  })
})
