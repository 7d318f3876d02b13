/**
 * The file descriptors of this process, when there are none left (EMFILE, ENFILE). Connections give way to files: who
 * opens a file or asks a server lets others give one up, and tries again. A new connection with a peer, dialled or
 * accepted, takes at most what others have open without using it, and fewer are made for a while.
 *
 * Providers report shortages, because only they see the system's errors.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"

/** Gives one descriptor up, if it can; returns whether it does. It may be closed a little later. */
export type Holder = Effect.Effect<boolean>

/** Who holds descriptors. */
export interface Descriptors {
  /** Holders of descriptors that nobody uses now, such as those of files that may be needed again. */
  readonly spare: Set<Holder>
  /** Holders of connections to peers. */
  readonly connections: Set<Holder>
  /** Those who make fewer connections for a while after one could not be accepted. */
  readonly acceptors: Set<Effect.Effect<void>>
}

/** Makes a record of nobody. */
export const make = (): Descriptors => ({ spare: new Set(), connections: new Set(), acceptors: new Set() })

const ofProcess = make()

/** Descriptors are shared by everything in a process, so the default is one for all. */
export const Descriptors = Context.Reference<Descriptors>("piecewise/base/Descriptors", {
  defaultValue: () => ofProcess
})

/** Lets a holder be asked until the scope closes. */
export const register = (kind: "spare" | "connections", holder: Holder): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Descriptors, (self) => addScoped(self[kind], holder))

/** Runs `note` after each connection that could not be accepted, until the scope closes. */
export const onAcceptFailed = (note: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Descriptors, ({ acceptors }) => addScoped(acceptors, note))

const addScoped = <A>(set: Set<A>, item: A): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => set.add(item)),
      () => Effect.sync(() => set.delete(item))
    )
  )

const giveUpOne = Effect.fnUntraced(function* (holders: ReadonlySet<Holder>) {
  for (const holder of [...holders]) if (yield* holder) return true
  return false
})

/** Closes something that nobody uses now, if there is anything. */
export const freeSpare: Effect.Effect<boolean> = Effect.flatMap(Descriptors, ({ spare }) => giveUpOne(spare))

/** A connection could not be accepted: closes what nobody uses, and fewer connections are made for a while. */
export const acceptFailed: Effect.Effect<void> = Effect.gen(function* () {
  const { acceptors } = yield* Descriptors
  yield* freeSpare
  for (const note of [...acceptors]) yield* note
})

/** How long a connection may take to close before the call runs again (milliseconds). Doubles each time. */
const closingTime = 20

/** How often a call waits: for 5 seconds in all. */
const maxWaits = 8

/**
 * The most connections that are given up for one call. If others take what they free, such as another process, the call
 * only waits from then on.
 */
export const maxGivenUp = 4

/** More attempts than there are threads that open files: each may take what was freed for another. */
const maxAttempts = 32

/** Runs `effect` again, which failed with `first` for want of descriptors, after others gave some up. */
export const again = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>, first: E) {
  let error = first
  for (let left = maxAttempts, waits = 0; left > 0 && isExhausted(error); left--) {
    if (!(yield* freeSpare)) {
      const { connections } = yield* Descriptors
      if (waits === maxWaits || (waits < maxGivenUp && !(yield* giveUpOne(connections)))) break
      yield* Effect.sleep(closingTime * 2 ** waits++)
    }
    const result = yield* Effect.result(effect)
    if (Result.isSuccess(result)) return result.success
    error = result.failure
  }
  return yield* Effect.fail(error)
})

/** Runs `effect`. If it fails for want of descriptors, others give some up, and it runs again. */
export const retry = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.catchIf(effect, isExhausted, (error) => again(effect, error))

/** Whether an error of the system, which others may have wrapped, says that no descriptors are left. */
export const isExhausted = (error: unknown): boolean => {
  let inner = error
  for (let depth = 0; depth < 6 && typeof inner === "object" && inner !== null; depth++) {
    const { cause, code, reason } = inner as { code?: unknown; cause?: unknown; reason?: unknown }
    if (code === "EMFILE" || code === "ENFILE") return true
    inner = cause ?? reason
  }
  return false
}
