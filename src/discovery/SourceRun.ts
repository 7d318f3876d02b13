/**
 * Runs a source of peers for one torrent. Whatever goes wrong in the source is reported as an event, and the source is
 * run again after a while.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { PeerSource, PeerSourceContext, PeerSourceEvent, Rounds } from "./PeerSource.ts"
import * as PeerSources from "./PeerSource.ts"

/** The wait before a source that failed is run again, in milliseconds. It doubles until the source reports peers. */
export const firstWait = 10_000

/** The longest wait, in milliseconds. */
export const longestWait = 600_000

/** The name of a source that has none and has not reported anything yet. */
const defaultName = "peer source"

/** Why a source failed, as a phrase after its name and a colon. */
const whyOf = (cause: Cause.Cause<unknown>): string => {
  const failure = Cause.squash(cause)
  const said = failure instanceof Error && failure.message !== "" ? failure.message : String(failure)
  if (Cause.hasInterruptsOnly(cause)) return "it was interrupted"
  return Cause.hasDies(cause) ? `an internal error: ${said}` : said
}

/** The rounds of a source that asks nothing for a torrent. */
const none: Rounds<unknown> = { isDue: () => false, round: () => Stream.empty }

/**
 * The rounds of a source for one torrent, whose functions never throw: what `rounds` or `isDue` of the source throw is
 * what the next round dies of, which is due at once. `undefined` if the source has no rounds.
 */
export const roundsOf = (source: PeerSource<unknown>, context: PeerSourceContext): Rounds<unknown> | undefined => {
  let own: Rounds<unknown> | undefined
  let thrown: { readonly defect: unknown } | undefined
  /** Whether it threw since it last said whether a round is due. */
  let isUnsure = false
  const made = (): Rounds<unknown> => (own ??= source.rounds?.(context) ?? none)
  /** If run again after it threw, it waits until it says that a round is due. */
  const again: Rounds<unknown> = { isDue: (now) => made().isDue(now), round: () => made().round() }
  const isDue = (now: number): boolean => {
    if (thrown !== undefined) return true
    try {
      const result = made().isDue(now)
      isUnsure = false
      return result
    } catch (defect) {
      thrown = { defect }
      return true
    }
  }
  const round = () => {
    if (thrown === undefined) return isUnsure ? PeerSources.nextRound(again) : made().round()
    const { defect } = thrown
    thrown = undefined
    isUnsure = true
    return Stream.die(defect)
  }
  try {
    own = source.rounds?.(context)
    if (own === undefined) return undefined
  } catch (defect) {
    thrown = { defect }
  }
  return { isDue, round }
}

/**
 * Passes the events of a source to `onEvent` until the source ends. A failure or a defect of the source becomes a
 * `Failed` event, and the source is run again. What `onEvent` dies of ends the run.
 */
export const run = Effect.fnUntraced(function* (
  source: PeerSource<unknown>,
  context: PeerSourceContext,
  onEvent: (event: PeerSourceEvent) => Effect.Effect<void>
) {
  let name = source.name ?? defaultName
  let wait = firstWait
  let ownDefect: Cause.Cause<never> | undefined
  const receive = (event: PeerSourceEvent) => {
    name = event.source
    if (event._tag === "Peers") wait = firstWait
    return Effect.onError(onEvent(event), (cause) =>
      Effect.sync(() => {
        ownDefect = cause
      })
    )
  }
  const once = Stream.suspend(() => source.peers(context)).pipe(
    Stream.runForEach(receive),
    // What the stream needs a scope for ends with this run.
    Effect.scoped,
    Effect.exit
  )
  while (true) {
    const exit = yield* once
    if (Exit.isSuccess(exit)) return
    if (ownDefect !== undefined) return yield* Effect.failCause(ownDefect)
    if (Cause.hasDies(exit.cause)) yield* Effect.logError(`A source of peers died: ${name}`, exit.cause)
    yield* onEvent({ _tag: "Failed", source: name, why: whyOf(exit.cause) })
    yield* Effect.sleep(wait)
    wait = Math.min(2 * wait, longestWait)
  }
})
