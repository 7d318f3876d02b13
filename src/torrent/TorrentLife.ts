/**
 * The life of a torrent from its start to its end. Takes the steps of its machine, reports their events, and signals
 * the fibers that wait for what is to be done next. It outlives the runs of a torrent whose files went away.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Signal from "../base/Signal.ts"
import type { ResumeData } from "../resume/ResumeStore.ts"
import * as EventLog from "./EventLog.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import type { TorrentError } from "./TorrentStatus.ts"

/** The life of one torrent. */
export interface TorrentLife {
  /** Its current state, which `note` replaces. */
  machine: TorrentMachine.TorrentMachine
  readonly log: EventLog.EventLog
  /** Completes when every wanted piece is stored and flushed for the first time. */
  readonly completed: Deferred.Deferred<void, TorrentError>
  /** Set when peers are wanted that were not wanted before, and when they are not wanted any more. */
  readonly seeking: Signal.Signal
  readonly resting: Signal.Signal
  /** Completes once all pieces were stored and flushed, not only the wanted ones. */
  readonly whole: Deferred.Deferred<void>
  /** Set when everything that is wanted is stored and has to be finished: flushed and looked at. */
  readonly finishing: Signal.Signal
  /** Set when the run has to end. Then another one begins, unless the torrent has to end. */
  readonly turning: Signal.Signal
  /** Why the torrent has to end. */
  failure: Cause.Cause<TorrentError> | undefined
  /** How many pieces had the wrong digest, counted each time. */
  rejectedPieces: number
  /** What was known when the files of the last run went away, because resume data may have gone with them. */
  last: ResumeData | undefined
}

/** Begins a life that lasts until the scope closes. Then whoever waits for `completed` is interrupted. */
export const make = Effect.fnUntraced(function* (options: { readonly seeds: boolean }) {
  const self: TorrentLife = {
    machine: TorrentMachine.make(options),
    log: EventLog.make(),
    completed: Deferred.makeUnsafe(),
    seeking: Signal.make(),
    resting: Signal.make(),
    whole: Deferred.makeUnsafe(),
    finishing: Signal.make(),
    turning: Signal.make(),
    failure: undefined,
    rejectedPieces: 0,
    last: undefined
  }
  yield* Effect.addFinalizer(() => {
    EventLog.end(self.log)
    return Deferred.interrupt(self.completed)
  })
  return self
})

/** Reports an event. */
export const report = (self: TorrentLife, event: TorrentEvent): void => EventLog.report(self.log, event)

/** Whether peers are wanted now. */
export const wantsPeers = ({ machine }: Pick<TorrentLife, "machine">): boolean => TorrentMachine.wantsPeers(machine)

/** Ends the torrent. */
export const fail = (self: TorrentLife, cause: Cause.Cause<TorrentError>): void => {
  self.failure ??= cause
  Signal.set(self.turning)
}

/** Takes the next step of the life, and performs its actions. */
export const note = (self: TorrentLife, fact: TorrentMachine.Fact): void => {
  const wantedPeers = wantsPeers(self)
  const step = TorrentMachine.step(self.machine, fact)
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
        Signal.set(self.turning)
        break
      case "End":
        fail(self, Cause.fail(action.error))
    }
  }
  // An action may have led to a further step, which has set the signals of its own.
  if (wantsPeers(self) !== wantedPeers) Signal.set(wantedPeers ? self.resting : self.seeking)
}
