import { assert, describe, it } from "@effect/vitest"
import * as WatchState from "../../../src/cli/service/WatchState.ts"
import { all, hashOf, paused, seed, service, torrent } from "./torrents.ts"

const namesOf = ({ sorted }: WatchState.WatchState) => sorted.map(({ name }) => name)

const of = (...torrents: Parameters<typeof all>[0]) => WatchState.update(WatchState.make("u"), all(torrents), service())

describe("WatchState", () => {
  it("shows what does something first, each kind in the order of the queue", () => {
    const state = of(
      paused("1", { name: "paused" }),
      seed("3", { name: "seed 3" }),
      torrent("4", { name: "down 4" }),
      seed("a", { name: "seed 2", position: 2 }),
      torrent("5", { name: "queued", state: { _tag: "Queued" } }),
      torrent("2", { name: "down 2" })
    )

    assert.deepStrictEqual(namesOf(state), ["down 2", "down 4", "seed 2", "seed 3", "queued", "paused"])
  })

  it("merges changes", () => {
    const changes = { revision: "2", isAll: false, torrents: [seed("1"), torrent("3")], removed: [hashOf("2")] }

    const state = WatchState.update(of(torrent("1"), torrent("2")), changes, service())

    assert.deepStrictEqual(namesOf(state), ["torrent 3", "torrent 1"])
  })

  it("forgets torrents that a new session does not have", () => {
    const state = WatchState.update(of(torrent("1"), torrent("2")), all([torrent("2")]), service())

    assert.deepStrictEqual(namesOf(state), ["torrent 2"])
  })

  it("keeps the rates of a minute", () => {
    let state = WatchState.make("u")
    for (let second = 1; second <= 100; second++) {
      state = WatchState.update(
        state,
        all([]),
        service({ downloadBytesPerSecond: second, uploadBytesPerSecond: -second })
      )
    }

    assert.deepStrictEqual([state.down.length, state.down[0], state.down.at(-1)], [60, 41, 100])
    assert.deepStrictEqual([state.up.length, state.samples], [60, 100])
  })

  it("keeps the chosen torrent where it goes, and chooses a neighbour if it is gone", () => {
    let state = WatchState.press(WatchState.press(of(torrent("1"), torrent("2"), torrent("3")), "down", 1), "down", 1)
    assert.strictEqual(WatchState.chosenOf(state)?.name, "torrent 2")

    const changes = { revision: "2", isAll: false, torrents: [paused("2")], removed: [] }
    state = WatchState.update(state, changes, service())
    assert.deepStrictEqual([WatchState.chosenOf(state)?.name, WatchState.chosenIndex(state)], ["torrent 2", 2])

    state = WatchState.update(state, { ...changes, torrents: [], removed: [hashOf("2")] }, service())
    assert.strictEqual(WatchState.chosenOf(state)?.name, "torrent 3")

    state = WatchState.update(state, all([]), service())
    assert.strictEqual(WatchState.chosenOf(state), undefined)
  })

  it("moves by rows and pages, and stops at the ends", () => {
    const state = of(...["1", "2", "3", "4", "5"].map((digits) => torrent(digits)))
    const indexAfter = (...keys: ReadonlyArray<Parameters<typeof WatchState.press>[1]>) =>
      WatchState.chosenIndex(keys.reduce((before, key) => WatchState.press(before, key, 2), state))

    assert.deepStrictEqual(
      [
        indexAfter(),
        indexAfter("down"),
        indexAfter("up"),
        indexAfter("down", "down", "up"),
        indexAfter("pageDown"),
        indexAfter("end"),
        indexAfter("home")
      ],
      [-1, 0, 0, 0, 2, 4, 0]
    )
    assert.deepStrictEqual(
      [indexAfter("end", "down"), indexAfter("end", "pageUp"), indexAfter("end", "resize", "toggle")],
      [4, 2, 4]
    )
  })
})
