/**
 * The life of a torrent from its start to its end. Takes the steps of its machine, reports their events, and signals
 * the fibers that wait for what is to be done next. It outlives the runs of a torrent whose files went away.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Signal from "../base/Signal.ts"
import type { ResumeData } from "../resume/ResumeStore.ts"
import * as EventLog from "./EventLog.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import type { TorrentError } from "./TorrentStatus.ts"
import { TorrentStopped } from "./TorrentStopped.ts"
import * as Watch from "./Watch.ts"

/** The life of one torrent. */
export interface TorrentLife {
  readonly infoHash: InfoHash
  /** Its current state, which `note` replaces. */
  machine: TorrentMachine.TorrentMachine
  readonly log: EventLog.EventLog<TorrentEvent>
  /** Called with each event as well. */
  readonly onEvent: ((event: TorrentEvent) => void) | undefined
  /** Woken when the state, the stored pieces or the wanted ones may have changed. */
  readonly watch: Watch.Watch
  /** Completes when every wanted piece is stored and flushed for the first time. */
  readonly completed: Deferred.Deferred<void, TorrentError | TorrentStopped>
  /** Set when peers are wanted that were not wanted before, and when they are not wanted any more. */
  readonly seeking: Signal.Signal
  readonly resting: Signal.Signal
  /** Set when pieces are wanted that were not wanted before. */
  readonly lacking: Signal.Signal
  /** Completes once all pieces were stored and flushed, not only the wanted ones. */
  readonly whole: Deferred.Deferred<void>
  /** Set when everything that is wanted is stored and has to be finished: flushed and looked at. */
  readonly finishing: Signal.Signal
  /** Set when the run has to end, to rest or to go on. */
  readonly turning: Signal.Signal
  /** Why the torrent has to end. */
  failure: Cause.Cause<TorrentError> | undefined
  /** How many pieces had the wrong digest, counted each time. */
  rejectedPieces: number
  /** What was known when the files of the last run went away, because resume data may have gone with them. */
  last: ResumeData | undefined
  /** How many rechecks were asked for, and how many of them the last check has done. */
  askedRechecks: number
  doneRechecks: number
}

/** How a life begins. */
export interface Options extends TorrentMachine.Options {
  readonly infoHash: InfoHash
  readonly onEvent?: TorrentLife["onEvent"]
}

/** Begins a life that lasts until the scope closes. Whoever waits for `completed` then is told that it has stopped. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { infoHash } = options
  const self: TorrentLife = {
    infoHash,
    machine: TorrentMachine.make(options),
    log: EventLog.make(),
    onEvent: options.onEvent,
    watch: Watch.make(),
    completed: Deferred.makeUnsafe(),
    seeking: Signal.make(),
    resting: Signal.make(),
    lacking: Signal.make(),
    whole: Deferred.makeUnsafe(),
    finishing: Signal.make(),
    turning: Signal.make(),
    failure: undefined,
    rejectedPieces: 0,
    last: undefined,
    askedRechecks: 0,
    doneRechecks: 0
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      note(self, { _tag: "Stopped" })
      EventLog.end(self.log)
      Deferred.doneUnsafe(self.completed, Effect.fail(new TorrentStopped({ infoHash })))
    })
  )
  return self
})

/** Reports an event. */
export const report = (self: TorrentLife, event: TorrentEvent): void => {
  EventLog.report(self.log, event)
  self.onEvent?.(event)
  Watch.wake(self.watch)
}

/** Whether peers are wanted now. */
export const wantsPeers = ({ machine }: Pick<TorrentLife, "machine">): boolean => TorrentMachine.wantsPeers(machine)

/** Whether pieces are wanted now that are not stored. */
export const wantsPieces = ({ machine }: Pick<TorrentLife, "machine">): boolean => TorrentMachine.wantsPieces(machine)

/** Ends the torrent. */
export const fail = (self: TorrentLife, cause: Cause.Cause<TorrentError>): void => {
  self.failure ??= cause
  Signal.set(self.turning)
  // What is under way may have to give up before its turn comes.
  Watch.wake(self.watch)
}

/** Takes the next step of the life, and performs its actions. */
export const note = (self: TorrentLife, fact: TorrentMachine.Fact): void => {
  const before = self.machine
  const wantedPeers = wantsPeers(self)
  const wantedPieces = wantsPieces(self)
  const step = TorrentMachine.step(before, fact)
  self.machine = step.machine
  for (const action of step.actions) {
    switch (action._tag) {
      case "Report":
        report(self, action.event)
        break
      case "Finish":
        Signal.set(self.finishing)
        break
      case "Complete":
        Deferred.doneUnsafe(self.completed, Effect.void)
        break
      case "Restart":
      case "Turn":
        Signal.set(self.turning)
        break
      case "End":
        fail(self, Cause.fail(action.error))
    }
  }
  // An action may have led to a further step, which has set the signals of its own.
  if (wantsPeers(self) !== wantedPeers) Signal.set(wantedPeers ? self.resting : self.seeking)
  if (wantsPieces(self) && !wantedPieces) Signal.set(self.lacking)
  if (self.machine !== before) Watch.wake(self.watch)
}

/**
 * Waits until `look` returns something, and returns that. Fails if the torrent ends before: with why it failed, or
 * because it was stopped. Looks first, so that what is true at the end still counts.
 */
export const until = <A>(
  self: TorrentLife,
  look: () => A | undefined
): Effect.Effect<A, TorrentError | TorrentStopped> =>
  Effect.flatten(
    Watch.until(self.watch, (): Effect.Effect<A, TorrentError | TorrentStopped> | undefined => {
      const found = look()
      return found === undefined ? endOf(self) : Effect.succeed(found)
    })
  )

/** How the torrent has ended; `undefined` if it has not. */
export const endOf = ({
  infoHash,
  machine: { error, phase }
}: TorrentLife): Effect.Effect<never, TorrentError | TorrentStopped> | undefined => {
  if (phase === "stopped") return Effect.fail(new TorrentStopped({ infoHash }))
  if (phase !== "failed") return undefined
  return error!._tag === "piecewise/TorrentDefect" ? Effect.die(error!.cause) : Effect.fail(error!)
}
