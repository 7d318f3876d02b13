/**
 * Runs the suite that every `SessionStore` passes (`SessionStoreSuite`), and compares a store with a plain model: random
 * commits, also of changes that do nothing, and openings.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import { SessionStore, type StoreChange } from "../../src/session/SessionStore.ts"
import * as SessionStoreSuite from "../../src/testing/suite/SessionStoreSuite.ts"
import { runCases } from "../runCases.ts"
import { batches, change, drawModel, drawStore, emptyModel, type Model } from "./sessionModel.ts"

type Store = SessionStore["Service"]
type Open = Effect.Effect<Store, unknown, Scope.Scope>

/** The store under test, which is opened and closed in the middle of a run. */
class Opened {
  readonly open: Open
  store: Store | undefined
  #scope = Scope.makeUnsafe()
  constructor(open: Open) {
    this.open = open
  }
  async reopen() {
    await this.close()
    this.#scope = Scope.makeUnsafe()
    this.store = await Effect.runPromise(Scope.provide(this.open, this.#scope))
  }
  async close() {
    await Effect.runPromise(Scope.close(this.#scope, Exit.void))
  }
}

class Commit implements fc.AsyncCommand<Model, Opened> {
  readonly changes: ReadonlyArray<StoreChange>
  constructor(changes: ReadonlyArray<StoreChange>) {
    this.changes = changes
  }
  check() {
    return true
  }
  async run(model: Model, { store }: Opened) {
    for (const made of this.changes) change(model, made)
    await Effect.runPromise(store!.commit(this.changes))
    assert.deepStrictEqual(await Effect.runPromise(drawStore(store!)), drawModel(model))
  }
  toString() {
    return `Commit(${this.changes.map(({ _tag }) => _tag).join(", ")})`
  }
}

class Reopen implements fc.AsyncCommand<Model, Opened> {
  check() {
    return true
  }
  async run(model: Model, real: Opened) {
    await real.reopen()
    assert.deepStrictEqual(await Effect.runPromise(drawStore(real.store!)), drawModel(model))
  }
  toString() {
    return "Reopen"
  }
}

/**
 * Runs the suite. `fresh` makes a store that has nothing, until its scope closes, and returns what opens it; it may be
 * opened again once it was closed.
 */
export const suite = (name: string, fresh: Effect.Effect<Open, never, Scope.Scope>, runs: number) =>
  describe(`SessionStore (${name})`, () => {
    const layer = Layer.effect(SessionStore, Effect.flatten(fresh))
    runCases(SessionStoreSuite.cases, layer)

    // Each case has a store of its own.
    for (const index of SessionStoreSuite.reopenCases(Effect.never).keys()) {
      const { name } = SessionStoreSuite.reopenCases(Effect.never)[index]!
      it.live(name, () => Effect.flatMap(fresh, (open) => SessionStoreSuite.reopenCases(open)[index]!.run))
    }

    it("has after any commits and openings what a model of it has", () =>
      fc.assert(
        fc.asyncProperty(
          fc.commands([batches.map((changes) => new Commit(changes)), fc.constant(new Reopen())], { maxCommands: 20 }),
          (commands) =>
            Effect.runPromise(
              Effect.scoped(
                Effect.gen(function* () {
                  const real = new Opened(yield* fresh)
                  yield* Effect.addFinalizer(() => Effect.promise(() => real.close()))
                  yield* Effect.promise(() => real.reopen())
                  yield* Effect.promise(() => fc.asyncModelRun(() => ({ model: emptyModel(), real }), commands))
                })
              )
            )
        ),
        { numRuns: runs }
      ))
  })
