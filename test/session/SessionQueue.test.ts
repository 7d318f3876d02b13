import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as SessionQueue from "../../src/session/SessionQueue.ts"

/** A queue drawn as text: `d` and `s` want to download and to seed, and a capital letter does not want to. */
const drawn = (text: string) =>
  [...text].map((letter, position) => ({
    position,
    isWilling: letter === letter.toLowerCase(),
    isComplete: letter.toLowerCase() === "s"
  }))

/** Which of them are active, drawn as `*`. */
const active = (text: string, limits: Parameters<typeof SessionQueue.active>[1]): string => {
  const queue = drawn(text)
  const found = SessionQueue.active(queue, limits)
  return queue.map((torrent) => (found.has(torrent) ? "*" : ".")).join("")
}

describe("SessionQueue", () => {
  it.each([
    ["dsDSds", {}, "**..**"],
    ["dddd", { downloads: 2 }, "**.."],
    ["DdSsds", { downloads: 1, seeds: 1 }, ".*.*.."],
    ["dsds", { downloads: 0 }, ".*.*"],
    ["dsds", { seeds: 0 }, "*.*."],
    ["", { seeds: 1 }, ""]
  ])("of %s with the limits %j has active %s", (text, limits, expected) => {
    assert.strictEqual(active(text, limits), expected)
  })

  it("puts a torrent first, last, or before another one", () => {
    const [one, two, three] = drawn("ddd") as [SessionQueue.Queued, SessionQueue.Queued, SessionQueue.Queued]
    const others = [one, two, three]

    assert.isBelow(SessionQueue.between(others, "first")!, one.position)
    assert.isAbove(SessionQueue.between(others, "last")!, three.position)
    assert.isBelow(SessionQueue.between(others, { before: one })!, one.position)
    const middle = SessionQueue.between(others, { before: two })!
    assert.isTrue(one.position < middle && middle < two.position)
    assert.isAbove(SessionQueue.between(others, { before: { ...two } })!, three.position)
    assert.deepStrictEqual([SessionQueue.between([], "first"), SessionQueue.between([], "last")], [-1, 1])
  })

  it("finds a number strictly between its neighbours, or says that there is none", () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, min: -1e9, max: 1e9 }),
        fc.double({ noNaN: true, min: 0, max: 1e9 }),
        (at, gap) => {
          const one = { position: at, isWilling: true, isComplete: false }
          const other = { ...one, position: at + gap }
          const found = SessionQueue.between([one, other], { before: other })
          return found === undefined ? gap < 1e-6 : found > one.position && found < other.position
        }
      )
    )
  })

  it("has room for some fifty moves to the same place", () => {
    const first = { position: 1, isWilling: true, isComplete: false }
    let next: SessionQueue.Queued = { ...first, position: 2 }
    let moves = 0
    for (; moves < 100; moves++) {
      const position = SessionQueue.between([first, next], { before: next })
      if (position === undefined) break
      next = { ...next, position }
    }

    assert.isTrue(moves > 40 && moves < 60, String(moves))
  })
})
