import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ConnectionLimit from "../../src/connect/ConnectionLimit.ts"
import * as Encounters from "../../src/swarm/Encounters.ts"
import { settle } from "../peer/sessions.ts"

const begin = Effect.fnUntraced(function* (max: number, engineMax = 10) {
  const connections = ConnectionLimit.make(engineMax)
  const encounters = yield* Encounters.make({ max, connections })
  const ended: Array<string> = []
  const note = (name: string) => (exit: Exit.Exit<void, unknown>) =>
    Effect.sync(() => {
      ended.push(`${name} ${Exit.hasInterrupts(exit) ? "interrupted" : exit._tag}`)
    })
  /** A connection that somebody opened. Returns whether it is closed. */
  const offer = Effect.fnUntraced(function* (key: number, run: Effect.Effect<void>, isWelcome = true) {
    const scope = yield* Scope.make()
    let isClosed = false
    yield* Scope.addFinalizer(
      scope,
      Effect.sync(() => {
        isClosed = true
      })
    )
    yield* Encounters.accept(encounters, scope, () =>
      isWelcome ? { key, run, ended: note(`accepted ${key}`) } : undefined
    )
    yield* settle
    return () => isClosed
  })
  return { connections, encounters, ended, note, offer }
})

describe("Encounters", () => {
  it.effect("count from the dial or the accepted connection to the end of the session", () =>
    Effect.gen(function* () {
      const { connections, encounters, ended, note, offer } = yield* begin(2)
      const over = yield* Deferred.make<void>()

      yield* Encounters.dial(encounters, 1, Deferred.await(over), note("dialled 1"))
      const isClosed = yield* offer(2, Deferred.await(over))
      yield* settle
      const during = [encounters.running, connections.held, isClosed(), Encounters.isFull(encounters)]
      yield* Deferred.succeed(over, undefined)
      yield* settle

      assert.deepStrictEqual(during, [2, 2, false, true])
      assert.deepStrictEqual([encounters.running, connections.held, isClosed()], [0, 0, true])
      assert.sameMembers(ended, ["dialled 1 Success", "accepted 2 Success"])
    })
  )

  it.effect("close a connection that is not welcome, or for which there is no room", () =>
    Effect.gen(function* () {
      const { connections, encounters, offer } = yield* begin(1)

      const unwelcome = yield* offer(1, Effect.never, false)
      yield* offer(2, Effect.never)
      const beyond = yield* offer(3, Effect.never)

      assert.deepStrictEqual([unwelcome(), beyond()], [true, true])
      assert.deepStrictEqual([encounters.running, connections.held], [1, 1])
    })
  )

  it.effect("wait with a dial for a connection of the engine, and do not begin it if they are interrupted", () =>
    Effect.gen(function* () {
      const { connections, encounters, ended, note } = yield* begin(2, 1)
      let hasBegun = false
      const begun = Effect.sync(() => {
        hasBegun = true
      })
      yield* Encounters.dial(encounters, 1, Effect.never, note("dialled 1"))
      yield* Encounters.dial(encounters, 2, begun, note("dialled 2"))
      yield* settle
      const waiting = [encounters.running, connections.waiting.size]

      Encounters.interruptUnsafe(encounters, 2)
      yield* settle

      assert.deepStrictEqual([waiting, hasBegun], [[2, 1], false])
      assert.deepStrictEqual([ended, encounters.running, connections.waiting.size], [["dialled 2 interrupted"], 1, 0])
    })
  )
})
