import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Dialling from "../../src/swarm/Dialling.ts"
import * as PeerBook from "../../src/swarm/PeerBook.ts"
import { settle } from "../peer/sessions.ts"
import { at } from "./swarms.ts"

/** Dialling without results: a dialled peer stays so until a test changes that. */
const begin = Effect.fnUntraced(function* (max: number) {
  const book = PeerBook.make(() => 0.5)
  const dialling = Dialling.make(book, max)
  const dialled: Array<string> = []
  const state = { dialing: 0, mayDial: true, denied: new Set<string>() }
  yield* Dialling.run(dialling, {
    wantsPeers: () => state.mayDial,
    admits: ({ address }) => !state.denied.has(address.host),
    takeDial: () => true,
    leaveLine: () => {},
    dialing: () => state.dialing,
    dial: ({ address }) =>
      Effect.sync(() => {
        state.dialing++
        dialled.push(address.host)
      })
  })
  yield* settle
  return { book, dialling, dialled, state }
})

describe("Dialling", () => {
  it.effect("dials every due address, as many at once as allowed, and goes on when there is room", () =>
    Effect.gen(function* () {
      const { book, dialled, dialling, state } = yield* begin(2)
      for (const host of [1, 2, 3]) PeerBook.add(book, at(host), 0)

      Dialling.wake(dialling)
      yield* settle
      const first = [...dialled]
      state.dialing--
      Dialling.wake(dialling)
      yield* settle

      assert.deepStrictEqual([first, dialled.length], [["10.0.0.1", "10.0.0.2"], 3])
    })
  )

  it.effect(
    "dials nobody whom the policy does not admit, asks about none of them for an hour, and dials the next",
    () =>
      Effect.gen(function* () {
        const { book, dialled, dialling, state } = yield* begin(2)
        state.denied.add("10.0.0.1")
        const [denied] = [1, 2].map((host) => PeerBook.add(book, at(host), 0)!)

        Dialling.wake(dialling)
        yield* settle

        assert.deepStrictEqual(dialled, ["10.0.0.2"])
        assert.isAtLeast(denied!.dialAt, 0.75 * PeerBook.restWhenNotAdmitted)
      })
  )

  it.effect("waits until the next address is due", () =>
    Effect.gen(function* () {
      const { book, dialled, dialling } = yield* begin(2)
      PeerBook.add(book, at(1), 5_000)
      Dialling.wake(dialling)
      yield* settle
      yield* TestClock.adjust("4 seconds")
      Dialling.tick(dialling, 4_000)
      yield* settle
      const early = dialled.length

      yield* TestClock.adjust("1 second")
      Dialling.tick(dialling, 5_000)
      yield* settle

      assert.deepStrictEqual([early, dialled.length], [0, 1])
    })
  )

  it.effect("dials nobody within the call that wakes it, nor while it may not", () =>
    Effect.gen(function* () {
      const { book, dialled, dialling, state } = yield* begin(2)
      PeerBook.add(book, at(1), 0)
      state.mayDial = false
      Dialling.wake(dialling)
      yield* settle
      const forbidden = dialled.length
      state.mayDial = true

      Dialling.wake(dialling)
      const within = dialled.length
      yield* settle

      assert.deepStrictEqual([forbidden, within, dialled.length], [0, 0, 1])
    })
  )
})
