/**
 * The life of a torrent from its start to its end. Takes the steps of its machine, reports their events, and signals
 * the fibers that wait for what is to be done next. It outlives the runs of a torrent whose files went away.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
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
  /** Open while peers are wanted, and open while they are not: each is what the other is not. */
  readonly seeking: Latch.Latch
  readonly resting: Latch.Latch
  /** Open once all pieces were stored and flushed, not only the wanted ones. */
  readonly whole: Latch.Latch
  /** Open while everything that is wanted is stored and has to be finished: flushed and looked at. */
  readonly finishing: Latch.Latch
  /** Open when the run has to end and another one has to begin. */
  readonly restarting: Latch.Latch
  /** Fails when the torrent has to end. */
  readonly ended: Deferred.Deferred<never, TorrentError>
  /** How many pieces had the wrong digest, counted each time. */
  rejectedPieces: number
  /** What was known when the files of the last run went away, because resume data may have gone with them. */
  last: ResumeData | undefined
}

/** Begins a life that lasts until the scope closes. Then whoever waits for `completed` is interrupted. */
export const make = Effect.fnUntraced(function* (options: { readonly seeds: boolean }) {
  const self: TorrentLife = {
    machine: TorrentMachine.make(options),
    log: yield* EventLog.make,
    completed: yield* Effect.acquireRelease(Deferred.make<void, TorrentError>(), Deferred.interrupt),
    seeking: yield* Latch.make(false),
    resting: yield* Latch.make(true),
    whole: yield* Latch.make(false),
    finishing: yield* Latch.make(false),
    restarting: yield* Latch.make(false),
    ended: yield* Deferred.make<never, TorrentError>(),
    rejectedPieces: 0,
    last: undefined
  }
  return self
})

/** Reports an event. */
export const report = (self: TorrentLife, event: TorrentEvent): void => self.log.report(event)

/** Takes the next step of the life, and performs its actions. */
export const note = (self: TorrentLife, fact: TorrentMachine.Fact): void => {
  const wantedPeers = TorrentMachine.wantsPeers(self.machine)
  const step = TorrentMachine.step(self.machine, fact)
  self.machine = step.machine
  for (const action of step.actions) {
    switch (action._tag) {
      case "Report":
        report(self, action.event)
        break
      case "Finish":
        Latch.openUnsafe(self.finishing)
        break
      case "Complete":
        Deferred.doneUnsafe(self.completed, Effect.void)
        break
      case "Restart":
        Latch.openUnsafe(self.restarting)
        break
      case "End":
        Deferred.doneUnsafe(self.ended, Effect.fail(action.error))
    }
  }
  // An action may have led to a further step, which has set the latches of its own.
  const wantsPeers = TorrentMachine.wantsPeers(self.machine)
  if (wantsPeers === wantedPeers) return
  Latch.closeUnsafe(wantsPeers ? self.resting : self.seeking)
  Latch.openUnsafe(wantsPeers ? self.seeking : self.resting)
}
