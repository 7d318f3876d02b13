/**
 * What is to be logged about the torrents of an engine. Events are reported by plain code, in the middle of what it
 * does, so their entries wait here for a fiber, which exists only while there are some.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as MutableList from "effect/MutableList"
import type * as Scope from "effect/Scope"
import * as Signal from "../base/Signal.ts"
import type { Entry } from "./TorrentLog.ts"

/** How many entries wait. Beyond that the oldest are lost. */
export const capacity = 8_192

/** An entry, and the loggers, annotations and span of its torrent. */
interface Waiting {
  readonly entry: Entry
  readonly context: Context.Context<never>
}

/** The entries that wait. */
export interface LogQueue {
  readonly waiting: MutableList.MutableList<Waiting>
  readonly some: Signal.Signal
}

/** Makes an empty queue. */
export const make = (): LogQueue => ({ waiting: MutableList.make(), some: Signal.make() })

/** Adds an entry, which is logged with what the context of its torrent provides. */
export const add = ({ some, waiting }: LogQueue, entry: Entry, context: Context.Context<never>): void => {
  MutableList.append(waiting, { entry, context })
  if (waiting.length > capacity) MutableList.take(waiting)
  Signal.set(some)
}

/** Logs what waits. Takes one entry at a time, so that whoever flushes goes on where another one was interrupted. */
export const flush = ({ waiting }: LogQueue): Effect.Effect<void> =>
  Effect.whileLoop({
    while: () => waiting.length > 0,
    body: () => write(MutableList.take(waiting) as Waiting),
    step: () => {}
  })

/** Logs entries soon after they were added, until the scope closes. */
export const run = (self: LogQueue): Effect.Effect<void, never, Scope.Scope> => Signal.attend(self.some, flush(self))

const write = ({ context, entry: { annotations, cause, level, message } }: Waiting): Effect.Effect<void> => {
  const parts = cause === undefined ? [message] : [message, cause]
  const entry = Effect.annotateLogs(Effect.logWithLevel(level)(...parts), annotations)
  // Instead of the context of whoever logs, which may have the span of another torrent.
  return Effect.setContext(entry, context)
}
