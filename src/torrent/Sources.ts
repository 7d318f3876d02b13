/**
 * Runs the sources of a torrent's peers, and remembers how each of them is doing.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { PeerSource, PeerSourceContext, PeerSourceEvent } from "../discovery/PeerSource.ts"
import type { PieceSwarm } from "../swarm/PieceSwarm.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"

/** How the sources are doing. */
export interface Sources {
  /** Sources whose last attempt failed: their names, and why they failed. */
  readonly failed: Map<string, string>
  /** The names of sources that have found an address so far. */
  readonly answered: Set<string>
}

/** Makes a record without answers. */
export const make = (): Sources => ({ failed: new Map(), answered: new Set() })

/** Adds the addresses that sources find to a swarm, until all sources have ended. */
export const run = (
  self: Sources,
  options: {
    readonly sources: ReadonlyArray<PeerSource>
    readonly context: PeerSourceContext
    readonly swarm: Pick<PieceSwarm, "add" | "seenAs">
    readonly report: (event: TorrentEvent) => void
  }
): Effect.Effect<void> => {
  const { context, sources, swarm, report } = options

  const onEvent = Effect.fnUntraced(function* (event: PeerSourceEvent) {
    const { source } = event
    if (event._tag === "Failed") {
      self.failed.set(source, event.why)
      return report({ _tag: "SourceFailed", source, why: event.why })
    }
    const { addresses, externalHost } = event
    self.failed.delete(source)
    if (addresses.length > 0) self.answered.add(source)
    if (externalHost !== undefined) swarm.seenAs(source, externalHost)
    yield* swarm.add(addresses)
    report({ _tag: "SourceAnswered", source, peers: addresses.length })
  })

  return Effect.forEach(sources, (source) => Stream.runForEach(source.peers(context), onEvent), {
    concurrency: "unbounded",
    discard: true
  })
}
