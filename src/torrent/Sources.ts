/**
 * Where the peers of a torrent come from: runs its sources, and remembers what each said last.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { PeerSource, PeerSourceContext, PeerSourceEvent } from "../discovery/PeerSource.ts"
import type { PieceSwarm } from "../swarm/PieceSwarm.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"

/** What sources have said. */
export interface Sources {
  /** Why each that failed last did so, by its name. */
  readonly failed: Map<string, string>
  /** Those that have told of a peer. */
  readonly answered: Set<string>
}

/** Nobody was asked. */
export const make = (): Sources => ({ failed: new Map(), answered: new Set() })

/** Feeds a swarm from the sources, until all of them have ended. */
export const run = (
  self: Sources,
  options: {
    readonly sources: ReadonlyArray<PeerSource>
    readonly context: PeerSourceContext
    readonly swarm: Pick<PieceSwarm, "add" | "seenAs">
    readonly tell: (event: TorrentEvent) => void
  }
): Effect.Effect<void> => {
  const { context, sources, swarm, tell } = options

  const onEvent = Effect.fnUntraced(function* (event: PeerSourceEvent) {
    const { source } = event
    if (event._tag === "Failed") {
      self.failed.set(source, event.why)
      return tell({ _tag: "SourceFailed", source, why: event.why })
    }
    const { addresses, externalHost } = event
    self.failed.delete(source)
    if (addresses.length > 0) self.answered.add(source)
    if (externalHost !== undefined) swarm.seenAs(source, externalHost)
    yield* swarm.add(addresses)
    tell({ _tag: "SourceAnswered", source, peers: addresses.length })
  })

  return Effect.forEach(sources, (source) => Stream.runForEach(source.peers(context), onEvent), {
    concurrency: "unbounded",
    discard: true
  })
}
