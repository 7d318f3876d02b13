import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import * as OwnedFibers from "../../src/connect/OwnedFibers.ts"
import * as Places from "../../src/connect/Places.ts"
import * as Property from "../../src/testing/Property.ts"

const turns = (count: number) => (count === 0 ? Effect.void : Effect.repeat(Effect.yieldNow, { times: count - 1 }))

describe("OwnedFibers", () => {
  it.effect(
    "releases what each fiber owns, whoever is interrupted at any turn, and also after its scope has closed",
    () =>
      Property.check(
        fc.record({
          owners: fc.array(fc.record({ wait: fc.nat(6), work: fc.nat(4), isInterrupted: fc.boolean() }), {
            minLength: 1,
            maxLength: 12
          }),
          closeAfter: fc.nat(12),
          operations: fc.integer({ min: 3, max: 20 })
        }),
        ({ closeAfter, operations, owners }) =>
          Effect.gen(function* () {
            const places = Places.make(100)
            const occupant = { useOf: () => ({ idleMillis: 0, isUseless: false }), leave: () => {} }
            const peer = { host: "10.0.0.1", isIncoming: true, occupant }
            const share = Places.share(100, 0, () => {})
            const scope = yield* Scope.make()
            const fibers = yield* Scope.provide(OwnedFibers.make<number>(), scope)
            const releases = owners.map(() => 0)
            const handOver = Effect.fnUntraced(function* (key: number, work: number) {
              const place = Places.claim(places, share, peer, 0)!
              yield* OwnedFibers.run(fibers, key, Effect.andThen(turns(work), Effect.never), () =>
                Effect.sync(() => {
                  releases[key]!++
                  Places.release(places, place, 0)
                })
              )
            }, Effect.uninterruptible)

            yield* Effect.gen(function* () {
              const closing = yield* Effect.forkChild(Effect.andThen(turns(closeAfter), Scope.close(scope, Exit.void)))
              for (const [key, { isInterrupted, wait, work }] of owners.entries()) {
                const owner = yield* Effect.forkChild(handOver(key, work), { startImmediately: true })
                if (isInterrupted) OwnedFibers.interruptUnsafe(fibers, key)
                yield* turns(wait)
                yield* Fiber.await(owner)
              }
              yield* Fiber.join(closing)
            }).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, operations))

            assert.deepStrictEqual([places.held.size, share.held, fibers.running.size], [0, 0, 0])
            assert.deepStrictEqual(
              releases,
              owners.map(() => 1)
            )
          }),
        { runs: 300 }
      )
  )

  it.effect("releases whatever the first steps of a fiber are when it is interrupted", () =>
    Effect.gen(function* () {
      for (let operations = 3; operations < 16; operations++) {
        for (let wait = 0; wait < 16; wait++) {
          const scope = yield* Scope.make()
          const fibers = yield* Scope.provide(OwnedFibers.make<number>(), scope)
          let releases = 0
          const release = () => Effect.sync(() => void releases++)
          yield* Effect.forkChild(OwnedFibers.run(fibers, 1, Effect.never, release), { startImmediately: true }).pipe(
            Effect.provideService(Scheduler.MaxOpsBeforeYield, operations)
          )
          for (let turn = 0; turn < wait; turn++) yield* Effect.yieldNow
          OwnedFibers.interruptUnsafe(fibers, 1)
          yield* Scope.close(scope, Exit.void)
          yield* turns(16)

          assert.strictEqual(releases, 1, `with ${operations} operations a turn, after ${wait} turns`)
        }
      }
    })
  )

  it.effect("reports how a fiber ended, and ends no other fiber with it", () =>
    Effect.gen(function* () {
      const fibers = yield* OwnedFibers.make<string>()
      const exits: Array<string> = []
      const note = (exit: Exit.Exit<unknown, unknown>) => Effect.sync(() => exits.push(exit._tag))

      yield* OwnedFibers.run(fibers, "lasts", Effect.never, note)
      yield* OwnedFibers.run(fibers, "fails", Effect.fail("a reason"), note)
      yield* OwnedFibers.run(fibers, "dies", Effect.die("a defect"), note)
      yield* OwnedFibers.run(fibers, "ends", Effect.void, note)

      assert.deepStrictEqual(exits, ["Failure", "Failure", "Success"])
      assert.deepStrictEqual([...fibers.running.keys()], ["lasts"])
    })
  )
})
