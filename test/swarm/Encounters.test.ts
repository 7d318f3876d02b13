import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as OwnedFibers from "../../src/connect/OwnedFibers.ts"
import * as Places from "../../src/connect/Places.ts"
import * as Encounters from "../../src/swarm/Encounters.ts"
import { settle } from "../peer/sessions.ts"

const begin = Effect.fnUntraced(function* (max: number) {
  const places = Places.make(10)
  const clock = yield* Clock.Clock
  const encounters = yield* Effect.acquireRelease(
    Effect.map(OwnedFibers.make<number>(), (fibers) => Encounters.make({ fibers, clock, max, places, wake: () => {} })),
    Encounters.endAll
  )
  const { share } = encounters
  const ended: Array<string> = []
  const note = (name: string) => (exit: Exit.Exit<void, unknown>, place: Places.Place | undefined) =>
    Effect.sync(() => {
      ended.push(`${name} ${Exit.hasInterrupts(exit) ? "interrupted" : exit._tag} ${place?.state}`)
    })
  const dial = (key: number, introduce: Effect.Effect<void>, run: Effect.Effect<void>) => {
    Places.takeDial(places, share)
    return Effect.andThen(
      Encounters.dial(encounters, {
        key,
        host: `10.0.0.${key}`,
        rankOf: () => 0,
        introduce,
        converse: () => run,
        ended: note(`dialled ${key}`)
      }),
      settle
    )
  }
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
      isWelcome
        ? {
            key,
            host: `10.0.0.${key}`,
            rank: 0,
            run: () => run,
            ended: note(`accepted ${key}`),
            refused: () => ended.push(`refused ${key}`)
          }
        : undefined
    )
    yield* settle
    return () => isClosed
  })
  return { places, share, encounters, ended, dial, offer }
})

describe("Encounters", () => {
  it.effect("hold a place from the introduction to the end of the session", () =>
    Effect.gen(function* () {
      const { dial, ended, offer, places, share } = yield* begin(2)
      const [answered, over] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]

      yield* dial(1, Deferred.await(answered), Deferred.await(over))
      const dialling = [share.held, share.dialing]
      yield* Deferred.succeed(answered, undefined)
      const isClosed = yield* offer(2, Deferred.await(over))
      const during = [share.held, share.dialing, isClosed()]
      yield* Deferred.succeed(over, undefined)
      yield* settle

      assert.deepStrictEqual(
        [dialling, during],
        [
          [0, 1],
          [2, 0, false]
        ]
      )
      assert.deepStrictEqual([share.held, places.held.size, places.dialing, isClosed()], [0, 0, 0, true])
      assert.sameMembers(ended, ["dialled 1 Success released", "accepted 2 Success released"])
    })
  )

  it.effect("close a connection that is not welcome, or for which there is no place", () =>
    Effect.gen(function* () {
      const { dial, ended, offer, share } = yield* begin(1)

      const unwelcome = yield* offer(1, Effect.never, false)
      yield* offer(2, Effect.never)
      const beyond = yield* offer(3, Effect.never)
      yield* dial(4, Effect.void, Effect.never)

      assert.deepStrictEqual([unwelcome(), beyond()], [true, true])
      assert.deepStrictEqual([share.held, share.dialing], [1, 0])
      assert.deepStrictEqual(ended, ["refused 3", "dialled 4 Failure undefined"])
    })
  )

  it.effect("end a dial that is interrupted, and one whose swarm ends", () =>
    Effect.gen(function* () {
      const { dial, encounters, ended, places } = yield* begin(2)
      yield* dial(1, Effect.never, Effect.never)
      yield* dial(2, Effect.never, Effect.never)

      Encounters.interruptUnsafe(encounters, 2)
      yield* settle
      const during = places.dialing
      yield* Encounters.endAll(encounters)
      yield* dial(3, Effect.never, Effect.never)

      assert.deepStrictEqual([during, places.dialing], [1, 0])
      assert.deepStrictEqual(
        ended,
        [2, 1, 3].map((key) => `dialled ${key} interrupted undefined`)
      )
    })
  )
})
