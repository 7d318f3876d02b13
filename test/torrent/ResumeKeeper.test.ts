import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { ResumeError, type TorrentResume } from "../../src/resume/ResumeStore.ts"
import * as ResumeKeeper from "../../src/torrent/ResumeKeeper.ts"

const bits = (drawing: string) => {
  const set = Bitfield.make(drawing.length)
  for (let index = 0; index < drawing.length; index++) if (drawing[index] === "*") Bitfield.add(set, index)
  return set
}

const draw = (set: Bitfield.Bitfield) =>
  Array.from({ length: set.length }, (_, index) => (Bitfield.has(set, index) ? "*" : " ")).join("")

/** A keeper whose every call is written down, in its own scope. */
const keeper = Effect.fnUntraced(function* (drawn: { readonly stored: string; readonly flushed: string }) {
  const calls: Array<string> = []
  const failures: Array<string> = []
  const state = { isBroken: false }
  const stored = bits(drawn.stored)
  const scope = yield* Scope.make()
  const call = (name: string) =>
    Effect.suspend(() => {
      calls.push(name)
      return state.isBroken
        ? Effect.fail(new ResumeError({ operation: "append", path: "resume", why: "it is broken" }))
        : Effect.void
    })
  const resume: TorrentResume = {
    load: Effect.die(new Error("a keeper does not load")),
    save: (pieces) => Effect.suspend(() => call(`save [${draw(pieces.stored)}] [${draw(pieces.flushed)}]`)),
    append: (pieces) => call(`append ${pieces.join(" ")}`),
    remove: Effect.void
  }
  const note = yield* ResumeKeeper.make({
    resume,
    storage: { flush: Effect.sync(() => void calls.push("flush")) },
    stored,
    flushed: bits(drawn.flushed),
    onFailure: ({ message }) => failures.push(message),
    onKept: (piece) => calls.push(`kept ${piece}`)
  }).pipe(Scope.provide(scope))
  yield* Effect.yieldNow
  return {
    state,
    failures,
    stop: Scope.close(scope, Exit.void),
    /** What the storage confirmed. */
    store: (piece: number) => {
      Bitfield.add(stored, piece)
      note(piece as PieceIndex)
    },
    /** The calls since it was last asked. */
    heard: () => calls.splice(0)
  }
})

describe("ResumeKeeper", () => {
  it.effect("saves what is stored at the start, before anything is written", () =>
    Effect.gen(function* () {
      const { heard, stop } = yield* keeper({ stored: "** ", flushed: "*  " })

      assert.deepStrictEqual(heard(), ["save [** ] [*  ]"])
      yield* stop
    })
  )

  it.effect("appends what was stored within a moment at once and once, and tells of it behind that", () =>
    Effect.gen(function* () {
      const { heard, stop, store } = yield* keeper({ stored: "    ", flushed: "    " })
      heard()

      store(2)
      store(0)
      yield* TestClock.adjust(ResumeKeeper.gatherFor)
      store(3)
      yield* TestClock.adjust(ResumeKeeper.gatherFor)
      yield* stop

      assert.deepStrictEqual(heard(), ["append 2 0", "kept 2", "kept 0", "append 3", "kept 3"])
    })
  )

  it.effect("flushes and saves every half minute, but only where something was stored since", () =>
    Effect.gen(function* () {
      const { heard, stop, store } = yield* keeper({ stored: "   ", flushed: "   " })
      yield* TestClock.adjust("1 hour")
      const idle = heard()
      store(1)
      yield* TestClock.adjust("29 seconds")
      const early = heard()
      yield* TestClock.adjust("2 seconds")
      const late = heard()
      yield* TestClock.adjust("1 hour")

      assert.deepStrictEqual(idle, ["save [   ] [   ]"])
      assert.deepStrictEqual(early, ["append 1", "kept 1"])
      assert.deepStrictEqual(late, ["flush", "save [ * ] [ * ]"])
      assert.deepStrictEqual(heard(), [])
      yield* stop
    })
  )

  it.effect("flushes a piece that was flushed once, was lost, and is stored again", () =>
    Effect.gen(function* () {
      const { heard, stop, store } = yield* keeper({ stored: "* ", flushed: "**" })
      store(1)
      yield* TestClock.adjust(ResumeKeeper.gatherFor)
      heard()

      yield* TestClock.adjust("31 seconds")

      assert.deepStrictEqual(heard(), ["flush", "save [**] [**]"])
      yield* stop
    })
  )

  it.effect("tells a lasting failure once, goes on, and tells of the pieces all the same", () =>
    Effect.gen(function* () {
      const { failures, heard, state, stop, store } = yield* keeper({ stored: "    ", flushed: "    " })
      heard()
      state.isBroken = true
      for (const piece of [0, 1, 2]) {
        store(piece)
        yield* TestClock.adjust(ResumeKeeper.gatherFor)
      }
      const during = [...failures]
      state.isBroken = false
      store(3)
      yield* TestClock.adjust(ResumeKeeper.gatherFor)
      state.isBroken = true
      yield* TestClock.adjust("31 seconds")

      assert.strictEqual(during.length, 1)
      assert.strictEqual(failures.length, 2)
      assert.deepStrictEqual(
        heard().filter((call) => call.startsWith("kept")),
        ["kept 0", "kept 1", "kept 2", "kept 3"]
      )
      yield* stop
    })
  )

  it.effect("appends what is pending when it is stopped", () =>
    Effect.gen(function* () {
      const { heard, stop, store } = yield* keeper({ stored: "  ", flushed: "  " })
      heard()

      store(1)
      yield* stop

      assert.deepStrictEqual(heard(), ["append 1", "kept 1"])
    })
  )
})
