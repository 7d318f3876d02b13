/**
 * Runs the sources of a torrent's peers, and remembers how each of them is doing.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../base/Monotonic.ts"
import * as Naming from "../base/Naming.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Reach from "../base/Reach.ts"
import * as Signal from "../base/Signal.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import type { Tally } from "../base/Tally.ts"
import * as Ticker from "../base/Ticker.ts"
import type { Encryption } from "../connect/Encryption.ts"
import type { PeerSource, PeerSourceContext, PeerSourceEvent, Rounds } from "../discovery/PeerSource.ts"
import * as SourceRun from "../discovery/SourceRun.ts"
import type { Origin } from "../swarm/Candidate.ts"
import * as Candidate from "../swarm/Candidate.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as SourceStatus from "./SourceStatus.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import * as TorrentLife from "./TorrentLife.ts"
import * as Watch from "./Watch.ts"

/** What sources reported. */
export interface Reports {
  /** Sources whose last attempt failed: their names, and why they failed. */
  readonly failed: Map<string, string>
  /** Sources that have answered, and whether they ever found an address. */
  readonly answered: Map<string, boolean>
  /** Sources in `failed` that refused for good. */
  readonly refused: Set<string>
  /** The last report of each source. */
  readonly last: Map<string, SourceStatus.SourceReport>
}

/** How the sources are doing. */
export interface Sources {
  /** Present once one of them reported something. */
  reports: Reports | undefined
  /** How many trackers there are to ask. */
  trackers: number
  /** The URL of a private torrent's tracker that answered last: its peers are from there (BEP 27). */
  current: string | undefined
}

/** Makes a record without answers. */
export const make = (): Sources => ({ reports: undefined, trackers: 0, current: undefined })

const noReports = (): Reports => ({
  failed: new Map(),
  answered: new Map(),
  refused: new Set(),
  last: new Map()
})

const nothing = noReports()

/** What the sources reported so far. */
export const reportsOf = ({ reports }: Sources): Readonly<Reports> => reports ?? nothing

/** With fewer connected peers than this, tiers of trackers are asked that the torrent could do without. */
export const fewPeers = 5

/** Whether every tracker refused for good, and no source has found an address. */
export const haveRefused = (self: Sources): boolean => {
  const { answered, refused } = reportsOf(self)
  return self.trackers > 0 && refused.size >= self.trackers && ![...answered.values()].includes(true)
}

/** What is needed to run sources. */
export interface Options {
  readonly sources: ReadonlyArray<PeerSource<unknown>>
  readonly context: PeerSourceContext
  readonly swarm: PieceSwarm.PieceSwarm
  /** Where answers and failures are counted; default: nowhere. */
  readonly tally?: Tally | undefined
  readonly report: (event: TorrentEvent) => void
}

/** What sources have to know of the torrent's life. */
type Life = Pick<TorrentLife.TorrentLife, "machine" | "seeking" | "resting" | "watch">

/** How long sources run after no peers are wanted any more, so that trackers still hear of the completion. */
export const restAfter = "10 seconds"

/**
 * Runs the sources while peers are wanted, until the scope closes. A torrent that neither downloads nor seeds lets them
 * end, so trackers are told that it has stopped; if more is wanted later, they run again.
 */
export const runWhileWanted = (
  self: Sources,
  life: Life,
  options: Options & { readonly ticker: Ticker.Ticker }
): Effect.Effect<void, never, Scope.Scope> => {
  const { context, sources, ticker } = options
  setTrackers(self, context.trackers)
  const seeking = Signal.attend(
    life.seeking,
    Effect.suspend(() => {
      Signal.clear(life.resting)
      return TorrentLife.wantsPeers(life) ? Effect.scoped(runUntilRested(self, life, options)) : Effect.void
    })
  )
  const inRounds = Effect.forEach(
    sources,
    (source) => {
      const rounds = SourceRun.roundsOf(source, context)
      return rounds === undefined ? Effect.void : runRounds(self, life, options, { source, rounds, ticker })
    },
    { discard: true }
  )
  return Effect.andThen(seeking, inRounds)
}

/** Runs the sources without rounds until no peers have been wanted for a while. */
const runUntilRested = Effect.fnUntraced(function* (self: Sources, life: Life, options: Options) {
  const rested = yield* Deferred.make<void>()
  const resting = Effect.map(Effect.sleep(restAfter), () => {
    // If it was wanted meanwhile, it has not rested for so long.
    if (!TorrentLife.wantsPeers(life) && !life.resting.isSet) Deferred.doneUnsafe(rested, Effect.void)
  })
  yield* Signal.attend(life.resting, resting)
  yield* Effect.raceFirst(run(self, options), Deferred.await(rested))
})

/** Runs each round of a source that is due while peers are wanted. */
const runRounds = (
  self: Sources,
  life: Life,
  options: Options,
  of: { readonly source: PeerSource<unknown>; readonly rounds: Rounds<unknown>; readonly ticker: Ticker.Ticker }
): Effect.Effect<void, never, Scope.Scope> => {
  const { rounds, source, ticker } = of
  const due = Signal.make()
  let isRunning = false
  const round = Effect.suspend(() => {
    const once = SourceRun.run({ ...source, peers: rounds.round }, options.context, onEvent(self, options, source))
    const enough = Watch.until(life.watch, () => (TorrentLife.wantsPeers(life) ? undefined : true))
    return Effect.raceFirst(once, enough)
  }).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        isRunning = false
      })
    )
  )
  const tick = (now: number): undefined => {
    if (isRunning || !TorrentLife.wantsPeers(life) || !rounds.isDue(now)) return
    isRunning = true
    Signal.set(due)
  }
  return Effect.andThen(Signal.attend(due, Effect.asVoid(round)), Ticker.join(ticker, tick))
}

/** Notes which trackers there are to ask. */
export const setTrackers = (self: Sources, trackers: ReadonlyArray<ReadonlyArray<string>>): void => {
  self.trackers = new Set(trackers.flat().filter(SourceUrl.isTracker)).size
}

/** How the sources that have reported something are doing, in the order of their first reports. */
export const statuses = (self: Sources, now: number): ReadonlyArray<SourceStatus.SourceStatus> =>
  Array.from(reportsOf(self).last, ([source, report]) => SourceStatus.of(source, report, now))

/** Remembers what a source said at `now` (milliseconds of elapsed time), and reports it. */
export const note = (self: Sources, event: PeerSourceEvent, now: number, report: Options["report"]): void => {
  const hadRefused = haveRefused(self)
  self.reports ??= noReports()
  const { answered, failed, last, refused } = self.reports
  const { source } = event
  last.set(source, SourceStatus.after(last.get(source), event, now))
  if (event._tag === "Peers") {
    const { addresses } = event
    failed.delete(source)
    answered.set(source, addresses.length > 0 || answered.get(source) === true)
    refused.delete(source)
    return report({ _tag: "SourceAnswered", source, peers: addresses.length })
  }
  const { isFinal, why } = event
  failed.set(source, why)
  if (isFinal === true) refused.add(source)
  else refused.delete(source)
  report({ _tag: "SourceFailed", source, why })
  if (haveRefused(self) && !hadRefused) report({ _tag: "TrackersRefused", trackers: self.trackers, source, why })
}

/** Remembers why a supplier that is no peer failed; `undefined` if it works. */
export const noteSupplier = (self: Sources, supplier: string, why: string | undefined): void => {
  self.reports ??= noReports()
  const { failed } = self.reports
  if (why === undefined) failed.delete(supplier)
  else failed.set(supplier, why)
}

const count = (tally: Tally, { _tag }: PeerSourceEvent): void => {
  if (_tag === "Peers") tally.sourceAnswers++
  else tally.sourceFailures++
}

/** What a source reports when it has found peers. */
type Found = Extract<PeerSourceEvent, { readonly _tag: "Peers" }>

/** Where the addresses of an event come from. */
export const originOf = ({ isGiven, isLocal }: PeerSource<unknown>, { from, source }: Found): Origin => ({
  _tag: "Source",
  source,
  reach: isGiven || isLocal ? Naming.anything : from === undefined ? "public" : Reach.of(from),
  ...(isGiven && { isGiven })
})

/** Why addresses are refused that a source found for a private torrent, and none of its trackers. */
export const notOfTracker = "the torrent is private, and only its trackers may name peers"

/** Why the peers of a private torrent leave when another of its trackers answers. */
export const otherTracker = "the private torrent has changed its tracker"

/**
 * Decides whether addresses may be used for a private torrent: those from its trackers and from the user. If another of
 * its trackers has taken over, the peers of the former leave first, and so do those that connected to us (BEP 27).
 */
const admitPrivate = (self: Sources, options: Options, source: PeerSource<unknown>, event: Found): boolean => {
  const { context, swarm } = options
  const isTracker = (name: string) => context.trackers.some((tier) => tier.some((url) => url.trim() === name))
  if (source.isGiven === true) return true
  if (!isTracker(event.source)) return false
  if (event.isBeside === true) return true
  const isOther = self.current !== undefined && !SourceUrl.isSameTracker(event.source, self.current)
  self.current = event.source
  if (isOther) PieceSwarm.giveUp(swarm, (origin) => !Candidate.isGiven(origin), otherTracker)
  return true
}

/** Remembers which of the addresses that `origin` may name prefer encryption, before they are dialled. */
export const notePreferences = (
  encryption: Encryption | undefined,
  { preferringEncryption = [] }: Found,
  origin: Origin
): void => {
  for (const { host, port } of preferringEncryption) {
    // The form that is dialled.
    const address = PeerAddress.make(host, port)
    if (address !== undefined && Naming.mayName(Candidate.reachOf(origin), address)) encryption?.notePreference(address)
  }
}

/** Notes what a source reports, and adds the addresses that it found to the swarm. */
const onEvent = (self: Sources, options: Options, from: PeerSource<unknown>) => {
  const { context, report, swarm, tally } = options
  const take = (event: Found) => {
    const { addresses, externalHost, source } = event
    const origin = originOf(from, event)
    if (context.isPrivate && !admitPrivate(self, options, from, event)) {
      return PieceSwarm.refuse(swarm, origin, addresses.length, notOfTracker)
    }
    const vote = externalHost === undefined ? undefined : { voter: source, host: externalHost }
    notePreferences(swarm.options.encryption, event, origin)
    PieceSwarm.add(swarm, addresses, vote, origin)
  }
  return (event: PeerSourceEvent): Effect.Effect<void> =>
    Effect.map(Monotonic.now, (now) => {
      if (tally !== undefined) count(tally, event)
      if (event._tag === "Peers") take(event)
      note(self, event, now, report)
    })
}

/** Runs the sources that have no rounds, until all of them have ended. */
const run = (self: Sources, options: Options): Effect.Effect<void> =>
  Effect.forEach(
    options.sources.filter(({ rounds }) => rounds === undefined),
    (source) => SourceRun.run(source, options.context, onEvent(self, options, source)),
    { concurrency: "unbounded", discard: true }
  )
