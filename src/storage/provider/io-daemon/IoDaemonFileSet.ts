/**
 * The set that the io-daemon keeps of one opening: registered with the first request that needs it, registered again
 * when a restarted daemon has forgotten it, and forgotten when the opening's scope closes.
 *
 * To register again is to reserve and claim again what was held before. A file that was claimed is known by its
 * identity, and is at least as long as what was written; so a restart neither makes nor cuts a file, and a file that
 * somebody took away meanwhile is noticed.
 */
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { IoDaemonError } from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonClient from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonProtocol from "../../../io-daemon/IoDaemonProtocol.ts"
import * as IoDaemonAnswer from "./IoDaemonAnswer.ts"
import * as IoDaemonHoldings from "./IoDaemonHoldings.ts"
import * as IoDaemonReasons from "./IoDaemonReasons.ts"

/** How long a set may take to be forgotten when its torrent is closed; the daemon does without. */
const forgetTimeout = "2 seconds"

/** How often a set with reserved files shows that it is in use: the daemon gives the files away after five minutes. */
const keepAliveInterval = "1 minute"

/** The set of one opening. */
export interface IoDaemonFileSet {
  /** One attempt at something that needs the set, which is registered if the daemon does not know it. */
  readonly attempt: <A, R>(effect: Effect.Effect<A, IoDaemonError, R>) => Effect.Effect<A, IoDaemonError, R>
  /** The same, in its turn, and again while a failure may pass. */
  readonly run: <A>(effect: Effect.Effect<A, IoDaemonError>) => Effect.Effect<A, IoDaemonError>
  /** Sets unwanted files aside, now and whenever the set is registered again. */
  readonly skip: (files: ReadonlyArray<number>) => Effect.Effect<void, IoDaemonError>
  /** Asks about `count` files in outcome request, and returns what is said of each, in their order. */
  readonly ask: (
    request: HttpClientRequest.HttpClientRequest,
    count: number
  ) => Effect.Effect<ReadonlyArray<IoDaemonProtocol.FileOutcome>, IoDaemonError>
  /** Shows now and then that the set is in use, while it has reserved files and nothing else is asked. */
  readonly keepAlive: Effect.Effect<never>
}

/** Makes a set that the daemon does not know yet. */
export const make = Effect.fnUntraced(function* (options: {
  readonly id: string
  /** What is registered, with the unwanted files. */
  readonly registration: (skipped: ReadonlyArray<number>) => string
  readonly client: IoDaemonClient.IoDaemonClient
  readonly holdings: IoDaemonHoldings.IoDaemonHoldings
  /** For requests in flight. */
  readonly permits: Semaphore.Semaphore
}): Effect.fn.Return<IoDaemonFileSet, never, Scope.Scope> {
  const { client, holdings, id, permits, registration } = options
  const registering = Semaphore.makeUnsafe(1)
  let registered = 0
  /** The unwanted files, as the daemon heard last; `undefined` until then. */
  let skipped: ReadonlyArray<number> | undefined
  let isUsed = false

  const forget: Effect.Effect<HttpClientResponse.HttpClientResponse, IoDaemonError> = Effect.suspend(() =>
    client.execute(HttpClientRequest.delete(IoDaemonProtocol.setRoute(id)))
  )

  const sendSkipped = (files: ReadonlyArray<number>) =>
    client.execute(post(IoDaemonProtocol.prepareRoute(id), IoDaemonProtocol.prepareBody(files)))

  const ask: IoDaemonFileSet["ask"] = (request, count) =>
    client.executeScoped(request).pipe(
      Effect.flatMap((response) => IoDaemonAnswer.fileOutcomes(response, count)),
      Effect.scoped
    )

  /** Reserves and claims again what was held before. What is not as it was is not claimed any more. */
  const takeAgain = Effect.gen(function* () {
    if (holdings.reserved.size === 0) return
    const route = IoDaemonProtocol.reserveRoute(id)
    const taken = yield* client.execute(post(route, IoDaemonProtocol.reserveBody([...holdings.reserved], true))).pipe(
      Effect.as(undefined),
      Effect.catchIf(IoDaemonReasons.isTakenOver, (refused) => Effect.succeed(refused))
    )
    if (taken !== undefined) return IoDaemonHoldings.loseAll(holdings, taken)
    for (const part of partsOf([...holdings.claims])) {
      const asked = part.map(([file, { identity, length }]) => ({ file, as: "again" as const, identity, length }))
      const outcomes = yield* ask(
        post(IoDaemonProtocol.claimRoute(id), IoDaemonProtocol.claimsBody(asked)),
        part.length
      )
      for (const [index, outcome] of outcomes.entries()) {
        if (!("refusal" in outcome)) continue
        const refused = IoDaemonReasons.refusedBy(outcome.refusal)
        // What may pass is tried again, with all the rest.
        if (IoDaemonReasons.isUncertain(refused)) return yield* IoDaemonClient.lost()
        IoDaemonHoldings.endClaim(holdings, part[index]![0], refused)
      }
    }
  })

  /** Registers the files, unless somebody has since `seen` was read. */
  const register = (seen: number) =>
    Effect.suspend(() => {
      if (registered !== seen) return Effect.void
      // With the skipped files at once: a write that comes before they are sent would make them in their places.
      const request = withJson(HttpClientRequest.put(IoDaemonProtocol.setRoute(id)), registration(skipped ?? []))
      // The same list has the same id, so the root has moved since an answer was lost: the set is registered anew.
      const anew = Effect.andThen(forget, client.execute(request))
      return client.execute(request).pipe(
        Effect.catchIf(IoDaemonReasons.isConflict, () => anew),
        Effect.andThen(
          skipped === undefined
            ? Effect.void
            : Effect.catchIf(sendSkipped(skipped), IoDaemonReasons.isOfFile, () => Effect.void)
        ),
        Effect.andThen(takeAgain),
        Effect.andThen(Effect.sync(() => void registered++))
      )
    }).pipe(registering.withPermit)

  const attempt: IoDaemonFileSet["attempt"] = (effect) =>
    Effect.suspend(() => {
      const seen = registered
      isUsed = true
      if (seen === 0) return Effect.andThen(register(seen), effect)
      return Effect.catchIf(effect, IoDaemonReasons.isForgotten, () => Effect.andThen(register(seen), effect))
    }).pipe(
      // Unknown again right after registration: the daemon is crash-looping. Report it as unavailable.
      Effect.catchIf(IoDaemonReasons.isForgotten, () => Effect.fail(IoDaemonClient.lost()))
    )

  const run: IoDaemonFileSet["run"] = (effect) => permits.withPermit(IoDaemonClient.patiently(attempt(effect)))

  yield* Effect.addFinalizer(() =>
    registered === 0
      ? Effect.void
      : forget.pipe(
          Effect.timeout(forgetTimeout),
          // A set that is not forgotten costs the daemon a few bytes, and goes when these files are opened again.
          Effect.ignore
        )
  )

  return {
    attempt,
    run,
    skip: (files) =>
      Effect.suspend(() => {
        const send = Effect.map(sendSkipped(files), () => {
          skipped = files
        })
        // Not while the set is registered, or an earlier selection would be sent after this one.
        return run(registering.withPermit(send))
      }),
    ask,
    keepAlive: Effect.suspend(() => {
      const wasUsed = isUsed
      isUsed = false
      if (wasUsed || holdings.reserved.size === 0) return Effect.void
      const sign = ask(post(IoDaemonProtocol.lookRoute(id), IoDaemonProtocol.filesBody([])), 0)
      return Effect.ensuring(
        Effect.ignore(attempt(sign)),
        Effect.sync(() => {
          isUsed = false
        })
      )
    }).pipe(Effect.delay(keepAliveInterval), Effect.forever)
  }
})

/** A request with JSON in its body. */
export const withJson = (request: HttpClientRequest.HttpClientRequest, json: string) =>
  HttpClientRequest.bodyText(request, json, "application/json")

/** A POST with JSON in its body. */
export const post = (route: string, json: string) => withJson(HttpClientRequest.post(route), json)

/** Cuts a list into parts that one request may ask about. */
export const partsOf = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / IoDaemonProtocol.maxFilesPerRequest) }, (_, index) =>
    items.slice(index * IoDaemonProtocol.maxFilesPerRequest, (index + 1) * IoDaemonProtocol.maxFilesPerRequest)
  )
