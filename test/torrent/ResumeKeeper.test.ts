import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { type ResumeChange, ResumeError, type TorrentResume } from "../../src/resume/ResumeStore.ts"
import * as ResumeKeeper from "../../src/torrent/ResumeKeeper.ts"
import { drawFiles, pieces, record } from "../resume/ResumeStore.suite.ts"

const piece = (index: number) => index as PieceIndex

const bits = (drawing: string) => {
  const set = Bitfield.make(drawing.length)
  for (let index = 0; index < drawing.length; index++) if (drawing[index] === "*") Bitfield.add(set, index)
  return set
}

const draw = (set: Bitfield.Bitfield) =>
  Array.from({ length: set.length }, (_, index) => (Bitfield.has(set, index) ? "*" : " ")).join("")

const nothing = { stored: "    ", flushed: "    " }

const drawPieces = (what: string, pieces: ReadonlyArray<PieceIndex>) =>
  pieces.length === 0 ? [] : [`${what} ${pieces.join(" ")}`]

/** Draws a change as text: its parts, in the order in which they are remembered. */
const drawChange = ({ dropped = [], files = new Map(), flushed = [], stored = [] }: ResumeChange) =>
  [
    ...drawPieces("dropped", dropped),
    ...Array.from(files, ([file, { identity }]) => `file ${file} ${identity}`),
    ...drawPieces("stored", stored),
    ...drawPieces("flushed", flushed)
  ].join(", ")

/** A keeper in its own scope, and a log of its calls. */
const keeper = Effect.fnUntraced(function* (drawing: { stored: string; flushed: string }, isBroken = false) {
  const calls: Array<string> = []
  const failures: Array<string> = []
  const state = { isBroken, gate: Effect.void as Effect.Effect<void> }
  const scope = yield* Scope.make()
  const call = (name: string) =>
    Effect.suspend(() => {
      calls.push(name)
      return state.isBroken
        ? Effect.fail(new ResumeError({ operation: "append", path: "resume", why: "it is broken" }))
        : state.gate
    })
  const resume: TorrentResume = {
    load: Effect.die(new Error("a keeper does not load")),
    save: ({ files, flushed, stored }) =>
      call(`save [${draw(stored)}] [${draw(flushed)}] ${drawFiles(files).join(", ")}`),
    append: (change, options) => {
      const text = drawChange(change)
      return text === "" ? Effect.void : call(`append ${text}${options?.durably === true ? ", durably" : ""}`)
    },
    remove: Effect.void
  }
  const self = yield* ResumeKeeper.make({
    resume,
    snapshot: () => ({
      stored: bits(drawing.stored),
      flushed: bits(drawing.flushed),
      files: new Map([[0, record("a")]])
    }),
    onFailure: ({ message }) => failures.push(message),
    onKept: (piece) => calls.push(`kept ${piece}`)
  }).pipe(Scope.provide(scope))
  yield* Effect.yieldNow
  return {
    ...self,
    state,
    failures,
    stop: Scope.close(scope, Exit.void),
    /** The calls since the last time. */
    heard: () => calls.splice(0)
  }
})

const gather = TestClock.adjust(ResumeKeeper.gatherFor)

describe("ResumeKeeper", () => {
  it.effect("saves the current state at the start, before anything is written", () =>
    Effect.gen(function* () {
      const { heard, stop } = yield* keeper({ stored: "** ", flushed: "*  " })

      assert.deepStrictEqual(heard(), [`save [** ] [*  ] ${drawFiles(new Map([[0, record("a")]]))}`])
      yield* stop
    })
  )

  it.effect("appends the changes of a moment together and once, and announces stored pieces afterwards", () =>
    Effect.gen(function* () {
      const { heard, noteFile, noteFlushed, noteStored, stop } = yield* keeper(nothing)
      heard()

      noteStored(piece(2))
      noteFlushed(pieces(1))
      noteFile(1, record("b"))
      noteStored(piece(0))
      yield* gather
      noteStored(piece(3))
      yield* gather
      yield* TestClock.adjust("1 hour")
      yield* stop

      assert.deepStrictEqual(heard(), [
        "append file 1 b, stored 2 0, flushed 1",
        "kept 2",
        "kept 0",
        "append stored 3",
        "kept 3"
      ])
    })
  )

  it.effect("waits a moment before it appends", () =>
    Effect.gen(function* () {
      const { heard, noteStored, stop } = yield* keeper(nothing)
      heard()

      noteStored(piece(2))
      yield* TestClock.adjust("19 millis")
      const early = heard()
      yield* TestClock.adjust("1 millis")

      assert.deepStrictEqual([early, heard()], [[], ["append stored 2", "kept 2"]])
      yield* stop
    })
  )

  it.effect("appends only the last record of a file", () =>
    Effect.gen(function* () {
      const { heard, noteFile, stop } = yield* keeper(nothing)
      heard()

      noteFile(1, record("b"))
      noteFile(2, record("c"))
      noteFile(1, record("d"))
      yield* gather

      assert.deepStrictEqual(heard(), ["append file 1 d, file 2 c"])
      yield* stop
    })
  )

  it.effect("does not record a piece as stored or flushed that was dropped a moment later", () =>
    Effect.gen(function* () {
      const { heard, noteDropped, noteFlushed, noteStored, stop } = yield* keeper(nothing)
      heard()

      noteStored(piece(1))
      noteStored(piece(2))
      noteFlushed(pieces(1, 2, 3))
      noteDropped(pieces(1, 3))
      yield* gather

      assert.deepStrictEqual(heard(), ["append dropped 1 3, stored 2, flushed 2", "kept 2"])
      yield* stop
    })
  )

  it.effect("records a piece as stored that was dropped and then stored again", () =>
    Effect.gen(function* () {
      const { heard, noteDropped, noteStored, stop } = yield* keeper({ stored: "*   ", flushed: "    " })
      heard()

      noteDropped(pieces(0))
      noteStored(piece(0))
      yield* gather

      assert.deepStrictEqual(heard(), ["append dropped 0, stored 0", "kept 0"])
      yield* stop
    })
  )

  it.effect("appends at once and durably when it is asked to, with everything that waits, and only once", () =>
    Effect.gen(function* () {
      const { append, heard, noteFlushed, noteStored, stop } = yield* keeper(nothing)
      heard()

      noteStored(piece(1))
      noteFlushed(pieces(0))
      yield* append(true)
      const atOnce = heard()
      yield* gather

      assert.deepStrictEqual(atOnce, ["append stored 1, flushed 0, durably", "kept 1"])
      assert.deepStrictEqual(heard(), [])
      yield* stop
    })
  )

  it.effect("appends one change after another, in the order in which they were noted", () =>
    Effect.gen(function* () {
      const { append, heard, noteStored, state, stop } = yield* keeper(nothing)
      const gate = yield* Latch.make(false)
      state.gate = gate.await
      heard()

      noteStored(piece(0))
      const first = yield* Effect.forkChild(append(false), { startImmediately: true })
      noteStored(piece(1))
      const second = yield* Effect.forkChild(append(true), { startImmediately: true })
      noteStored(piece(2))
      const during = heard()
      yield* gate.open
      yield* Fiber.join(first)
      yield* Fiber.join(second)

      assert.deepStrictEqual(during, ["append stored 0"])
      assert.deepStrictEqual(heard(), ["kept 0", "append stored 1 2, durably", "kept 1", "kept 2"])
      yield* stop
    })
  )

  it.effect("cannot be interrupted half way: it appends everything that it began with", () =>
    Effect.gen(function* () {
      const { append, heard, noteStored, state, stop } = yield* keeper(nothing)
      const gate = yield* Latch.make(false)
      state.gate = gate.await
      heard()

      noteStored(piece(0))
      const fiber = yield* Effect.forkChild(append(false), { startImmediately: true })
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* gate.open
      yield* Fiber.join(interrupting)

      assert.deepStrictEqual(heard(), ["append stored 0", "kept 0"])
      yield* stop
    })
  )

  it.effect("reports a lasting failure once, goes on, and announces the pieces nevertheless", () =>
    Effect.gen(function* () {
      const { failures, heard, noteStored, state, stop } = yield* keeper(nothing)
      heard()
      state.isBroken = true
      for (const index of [0, 1, 2]) {
        noteStored(piece(index))
        yield* gather
      }
      const during = [...failures]
      state.isBroken = false
      noteStored(piece(3))
      yield* gather
      state.isBroken = true
      noteStored(piece(3))
      yield* gather

      assert.strictEqual(during.length, 1)
      assert.strictEqual(failures.length, 2)
      assert.deepStrictEqual(
        heard().filter((call) => call.startsWith("kept")),
        ["kept 0", "kept 1", "kept 2", "kept 3", "kept 3"]
      )
      yield* stop
    })
  )

  it.effect("saves the current state after an append failed, and appends again from then on", () =>
    Effect.gen(function* () {
      const known = { stored: "****", flushed: "****" }
      const { append, heard, noteDropped, noteFile, noteStored, state, stop } = yield* keeper(known)
      state.isBroken = true
      noteDropped(pieces(3))
      known.stored = "*** "
      known.flushed = "*** "
      yield* append(false)
      heard()

      state.isBroken = false
      noteFile(0, record("later"))
      yield* append(true)
      noteStored(piece(3))
      yield* append(false)

      assert.deepStrictEqual(heard(), [
        `save [*** ] [*** ] ${drawFiles(new Map([[0, record("a")]]))}`,
        "append stored 3",
        "kept 3"
      ])
      yield* stop
    })
  )

  it.effect("saves the current state after the first save failed", () =>
    Effect.gen(function* () {
      const known = { stored: "*   ", flushed: "*   " }
      const { failures, heard, noteStored, state, stop } = yield* keeper(known, true)
      heard()
      state.isBroken = false

      noteStored(piece(1))
      known.stored = "**  "
      yield* gather

      assert.strictEqual(failures.length, 1)
      assert.deepStrictEqual(heard(), [`save [**  ] [*   ] ${drawFiles(new Map([[0, record("a")]]))}`, "kept 1"])
      yield* stop
    })
  )

  it.effect("saves when it is stopped what could not be appended, although nothing changed since", () =>
    Effect.gen(function* () {
      const { append, heard, noteDropped, state, stop } = yield* keeper({ stored: "*   ", flushed: "    " })
      state.isBroken = true
      noteDropped(pieces(3))
      yield* append(false)
      heard()

      state.isBroken = false
      yield* stop

      assert.deepStrictEqual(heard(), [`save [*   ] [    ] ${drawFiles(new Map([[0, record("a")]]))}`])
    })
  )

  it.effect("records a dropped piece as stored again without announcing it again", () =>
    Effect.gen(function* () {
      const { heard, noteDropped, noteRestored, stop } = yield* keeper({ stored: "*   ", flushed: "    " })
      heard()

      noteDropped(pieces(0, 1))
      noteRestored(piece(0))
      yield* gather

      assert.deepStrictEqual(heard(), ["append dropped 0 1, stored 0"])
      yield* stop
    })
  )

  it.effect("announces a piece that was dropped before it was announced, once it is right again", () =>
    Effect.gen(function* () {
      const { append, heard, noteDropped, noteRestored, noteStored } = yield* keeper(nothing)
      heard()
      noteStored(piece(1))
      noteDropped(pieces(1))
      yield* append(true)
      const dropped = heard()
      noteRestored(piece(1))
      yield* append(false)
      const restored = heard()
      noteRestored(piece(1))
      yield* append(false)

      assert.deepStrictEqual(dropped, ["append dropped 1, durably"])
      assert.deepStrictEqual(restored, ["append stored 1", "kept 1"])
      assert.deepStrictEqual(heard(), ["append stored 1"])
    })
  )

  it.effect("appends pending changes when it is stopped", () =>
    Effect.gen(function* () {
      const { heard, noteFile, noteStored, stop } = yield* keeper(nothing)
      heard()

      noteStored(piece(1))
      noteFile(0, record("b"))
      yield* stop

      assert.deepStrictEqual(heard(), ["append file 0 b, stored 1", "kept 1"])
    })
  )
})
