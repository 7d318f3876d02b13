/**
 * Implements `piecewise watch`: asks the service each second what has changed, and shows it in a table that fills the
 * terminal, in lines of a log, or in lines of JSON.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { ServiceStatus } from "../../control/api/ServiceApi.ts"
import type { TorrentChanges, TorrentItem } from "../../control/api/TorrentModel.ts"
import * as Arguments from "../Arguments.ts"
import type { CommandFailed } from "../CommandFailed.ts"
import type { Output } from "../Output.ts"
import * as Keyboard from "./Keyboard.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as TorrentWords from "./TorrentWords.ts"
import * as WatchState from "./WatchState.ts"
import * as WatchView from "./WatchView.ts"

/** How often the service is asked. */
const interval = "1 second"

/** How long an answer may take before the service counts as away. */
const patience = "10 seconds"

/** How often a log has a line of a torrent that downloads, in answers of the service. */
const logEvery = 10

/** Runs a program with the client of the service, and finds the service for it. */
export type Connect = <A, E extends { readonly message: string }>(
  program: (client: ServiceConnection.Client, place: Pick<ServiceConnection.Place, "url">) => Effect.Effect<A, E>
) => Effect.Effect<A, CommandFailed | Arguments.WrongUsage>

/** Shows what the torrents do, until the user ends it. */
export const run = (args: Arguments.Arguments, output: Output) =>
  Effect.scoped(
    Effect.gen(function* () {
      const isPage = output.isTerminal && !Arguments.has(args, "json")
      const keys = isPage ? yield* Keyboard.open : undefined
      const connect: Connect = (program) => ServiceConnection.use(args, program, patience)
      yield* watch({ output, connect, keys, asJson: Arguments.has(args, "json") })
    })
  )

/** What `watch` is made from. */
export interface Options {
  readonly output: Output
  readonly connect: Connect
  /** The keys of a user who looks at a table; `undefined` for lines. */
  readonly keys: Queue.Dequeue<Keyboard.Key> | undefined
  readonly asJson: boolean
}

/** Shows answers of the service, and that there are none. */
interface Display {
  readonly answered: (url: string, changes: TorrentChanges, service: ServiceStatus) => void
  readonly away: (why: string) => void
}

/** `run`, with another way to the service, and other keys. */
export const watch = ({ asJson, connect, keys, output }: Options) => {
  if (asJson) return follow(jsonDisplay(output), connect, output)
  return keys === undefined ? follow(logDisplay(output), connect, output) : table(output, connect, keys)
}

/**
 * Asks the service again and again. Fails if the first question does. If a later one does, the service is looked for
 * again: it may have been started again elsewhere.
 */
const follow = (display: Display, connect: Connect, output: Output) =>
  Effect.suspend(() => {
    let hasAnswered = false
    // A session that was opened again does not know this one, and answers with all that there is.
    let since = ""
    return connect((client, { url }) =>
      Effect.gen(function* () {
        // Nothing is asked while nobody reads: what changes meanwhile is in the next answer.
        if (!output.isBehind()) {
          const [changes, service] = yield* Effect.all(
            [client.torrents.changes({ query: { since } }), client.service.status()],
            { concurrency: "unbounded" }
          )
          since = changes.revision
          hasAnswered = true
          display.answered(url.href, changes, service)
        }
        yield* Effect.sleep(interval)
      }).pipe(Effect.forever)
    ).pipe(
      Effect.catchIf(
        (error) => error instanceof ServiceConnection.ServiceAway && hasAnswered,
        (error) => {
          display.away(error.message)
          return Effect.sleep(interval)
        }
      ),
      Effect.forever
    )
  })

/** A table that fills the terminal. */
const table = (output: Output, connect: Connect, keys: Queue.Dequeue<Keyboard.Key>) =>
  Effect.suspend(() => {
    let state = WatchState.make("")
    const show = (next: WatchState.WatchState): void => {
      state = next
      if (!output.isBehind()) output.page(WatchView.render(state, output.style(), output.rows()))
    }
    const display: Display = {
      answered: (url, changes, service) => show(WatchState.update({ ...state, url }, changes, service)),
      away: (why) => show(WatchState.withAway(state, why))
    }
    const press = (key: Keyboard.Key): Effect.Effect<void> => {
      const torrent = WatchState.chosenOf(state)
      show(WatchState.withTrouble(WatchState.press(state, key, WatchView.pageLength(output.rows())), undefined))
      if (key !== "toggle" || torrent === undefined) return Effect.void
      // The user may go on, or end the table, before the service has answered.
      return connect((client) => toggle(client, torrent)).pipe(
        Effect.catch(({ message }) => Effect.sync(() => show(WatchState.withTrouble(state, message)))),
        Effect.forkChild,
        Effect.asVoid
      )
    }
    const untilQuit = Effect.gen(function* () {
      for (;;) {
        const key = yield* Queue.take(keys)
        if (key === "quit") return
        // Nothing is shown until the service has answered: it may not be there.
        if (state.service !== undefined) yield* press(key)
      }
    })
    return Effect.raceFirst(untilQuit, follow(display, connect, output))
  })

/** Resumes a torrent that is paused or has failed, and pauses any other. */
const toggle = (client: ServiceConnection.Client, { infoHash, state }: TorrentItem) => {
  const params = { infoHash }
  return state._tag === "Paused" || state._tag === "Failed"
    ? client.torrents.resume({ params, payload: {} })
    : client.torrents.pause({ params })
}

/** A line when a torrent does something else, and now and then for one that downloads. */
const logDisplay = (output: Output): Display => {
  /** The words of the states that were printed, and the answer after which that was, by info hash. */
  const printed = new Map<string, { readonly word: string; readonly at: number }>()
  let state = WatchState.make("")
  let isAway = false
  return {
    answered: (url, changes, service) => {
      isAway = false
      state = WatchState.update({ ...state, url }, changes, service)
      const lines: Array<string> = []
      for (const [key, { word }] of printed) {
        if (state.torrents.has(key)) continue
        printed.delete(key)
        lines.push(`${key.slice(0, 8)}: removed (was ${word})`)
      }
      for (const [key, torrent] of state.torrents) {
        const { rank, word } = TorrentWords.stateOf(torrent)
        const before = printed.get(key)
        const isDue = before !== undefined && rank === 0 && state.samples - before.at >= logEvery
        if (before?.word === word && !isDue) continue
        printed.set(key, { word, at: state.samples })
        lines.push(WatchView.line(torrent))
      }
      output.print(lines)
    },
    away: (why) => {
      if (!isAway) output.note(`The service is away, and is asked again: ${why}`)
      isAway = true
    }
  }
}

/** A line of JSON for each change. */
const jsonDisplay = (output: Output): Display => {
  let isAway = false
  return {
    answered: (_url, { isAll, removed, torrents }, service) => {
      if (!isAll && !isAway && torrents.length + removed.length === 0) return
      isAway = false
      ServiceLines.print(output, { _tag: "Changed", isAll, torrents, removed, service })
    },
    away: (why) => {
      if (!isAway) ServiceLines.print(output, { _tag: "Away", why })
      isAway = true
    }
  }
}
